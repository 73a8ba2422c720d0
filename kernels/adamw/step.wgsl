// One AdamW step in place on $n tensors, one element an invocation; group.z is the tensor. `scale` is a factor for all gradients. See ../runtime/webgpu/repeat-lines.ts.
struct Item { count: u32, decay: f32, stepSize: f32, unused: u32 }
struct Params { oneMinusBeta1: f32, beta2: f32, oneMinusBeta2: f32, rootCorrection2: f32, epsilon: f32, u0: u32, u1: u32, u2: u32, items: array<Item, $n> }
@group(0) @binding(4 * $i) var<storage, read_write> p$i: array<f32>; // #each n
@group(0) @binding(4 * $i + 1) var<storage, read> g$i: array<f32>; // #each n
@group(0) @binding(4 * $i + 2) var<storage, read_write> m$i: array<f32>; // #each n
@group(0) @binding(4 * $i + 3) var<storage, read_write> v$i: array<f32>; // #each n
@group(0) @binding(4 * $n) var<uniform> params: Params;
@group(0) @binding(4 * $n + 1) var<uniform> scale: f32;

// The new (p, m, v).
fn adamw(item: Item, p: f32, g: f32, m: f32, v: f32) -> vec3f {
  let gradient = g * scale;
  let m1 = m + (gradient - m) * params.oneMinusBeta1;
  let v1 = v * params.beta2 + gradient * gradient * params.oneMinusBeta2;
  let denominator = sqrt(v1) / params.rootCorrection2 + params.epsilon;
  return vec3f(p * item.decay - m1 / denominator * item.stepSize, m1, v1);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * 256u + lane;
  let item = params.items[group.z];
  if (i >= item.count) { return; }
  switch group.z {
    case $i: { let next = adamw(item, p$i[i], g$i[i], m$i[i], v$i[i]); p$i[i] = next.x; m$i[i] = next.y; v$i[i] = next.z; } // #each n
    default: {}
  }
}
