// One workgroup a row: y = v · rstd · w, rstd = 1 / √(mean(v²) + eps), where v is x or, with something to add, x + added, which is written
// too. See ../runtime/webgpu/repeat-lines.ts.
struct Params { rows: u32, dim: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(4) var<storage, read> added: array<f32>; // #each a
@group(0) @binding(5) var<storage, read_write> total: array<f32>; // #each a
@group(0) @binding(2 * $a + 4) var<uniform> params: Params;

// #include "../runtime/webgpu/reduce.wgsl"

fn value(at: u32) -> f32 {
  var v = x[at];
  v += added[at]; // #each a
  return v;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  // Uniform over the workgroup, so the barriers below stay in uniform control flow.
  if (row >= params.rows) { return; }
  let base = row * params.dim;
  var sum = 0.0;
  for (var i = lane; i < params.dim; i += GROUP) {
    let v = value(base + i);
    sum += v * v;
  }
  let r = inverseSqrt(reduce_add(sum, lane) / f32(params.dim) + params.eps);
  if (lane == 0u) { rstd[row] = r; }
  for (var i = lane; i < params.dim; i += GROUP) {
    let v = value(base + i);
    y[base + i] = v * r * w[i];
    total[base + i] = v; // #each a
  }
}
