// One workgroup a row: dx = rstd · (g − mean(g) − n · mean(g·n)), g = dy·w, n = (x − mean) · rstd.
struct Params { rows: u32, dim: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read> stats: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

// #include "../runtime/reduce.wgsl"

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let base = row * params.dim;
  let mean = stats[2u * row];
  let r = stats[2u * row + 1u];
  var sum = 0.0;
  var dot = 0.0;
  for (var i = lane; i < params.dim; i += GROUP) {
    let g = dy[base + i] * w[i];
    sum += g;
    dot += g * (x[base + i] - mean);
  }
  let m = reduce_add(sum, lane) / f32(params.dim);
  let k = reduce_add(dot, lane) * r * r / f32(params.dim);
  for (var i = lane; i < params.dim; i += GROUP) { dx[base + i] = r * (dy[base + i] * w[i] - m - (x[base + i] - mean) * k); }
}
