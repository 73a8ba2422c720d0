// One workgroup a query of a head: stats = (lse, Σ dy · o) side by side.
struct Params { query_length: u32, heads: u32, dim: u32, rows: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> o: array<f32>;
@group(0) @binding(2) var<storage, read> lse: array<f32>;
@group(0) @binding(3) var<storage, read_write> stats: array<vec2f>;
@group(0) @binding(4) var<uniform> params: Params;

// #include "../runtime/webgpu/reduce.wgsl"

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let i = row % params.query_length;
  let head = row / params.query_length % params.heads;
  let b = row / params.query_length / params.heads;
  let at = ((b * params.query_length + i) * params.heads + head) * params.dim;
  var sum = 0.0;
  for (var d = lane; d < params.dim; d += GROUP) { sum += dy[at + d] * o[at + d]; }
  let dot = reduce_add(sum, lane);
  if (lane == 0u) { stats[row] = vec2f(lse[row], dot); }
}
