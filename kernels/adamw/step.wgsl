// One AdamW step in place, one element an invocation. hyper: see HYPER in reference.ts; scale: one factor for the gradients.
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read_write> p: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> m: array<f32>;
@group(0) @binding(3) var<storage, read_write> v: array<f32>;
@group(0) @binding(4) var<storage, read> hyper: array<f32>;
@group(0) @binding(5) var<storage, read> scale: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * 256u + lane;
  if (i >= params.count) { return; }
  let gradient = g[i] * scale[0];
  let m1 = m[i] + (gradient - m[i]) * hyper[1];
  let v1 = v[i] * hyper[2] + gradient * gradient * hyper[3];
  let denominator = sqrt(v1) / hyper[4] + hyper[5];
  m[i] = m1;
  v[i] = v1;
  p[i] = p[i] * hyper[0] - m1 / denominator * hyper[6];
}
