// One workgroup a row: y = (x − mean) · rstd · w + b, rstd = 1 / √(variance + eps). stats: (mean, rstd) a row.
struct Params { rows: u32, dim: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

// #include "../runtime/webgpu/reduce.wgsl"

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  // Uniform over the workgroup, so the barriers below stay in uniform control flow.
  if (row >= params.rows) { return; }
  let base = row * params.dim;
  var sum = 0.0;
  for (var i = lane; i < params.dim; i += GROUP) { sum += x[base + i]; }
  let mean = reduce_add(sum, lane) / f32(params.dim);
  // A pass of its own: E(x²) − mean² would cancel where the mean is large.
  var squares = 0.0;
  for (var i = lane; i < params.dim; i += GROUP) {
    let v = x[base + i] - mean;
    squares += v * v;
  }
  let r = inverseSqrt(reduce_add(squares, lane) / f32(params.dim) + params.eps);
  if (lane == 0u) {
    stats[2u * row] = mean;
    stats[2u * row + 1u] = r;
  }
  for (var i = lane; i < params.dim; i += GROUP) { y[base + i] = (x[base + i] - mean) * r * w[i] + b[i]; }
}
