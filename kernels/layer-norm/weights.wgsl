// dw = Σ over rows of dy · (x − mean) · rstd, db = Σ dy: a workgroup takes 16 columns, 16 invocations share each.
struct Params { rows: u32, dim: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;
@group(0) @binding(4) var<storage, read_write> db: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

const COLUMNS = 16u;
const LANES = 16u;
var<workgroup> parts: array<vec2f, 256>;

@compute @workgroup_size(COLUMNS, LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let column = group.x * COLUMNS + id.x;
  var sum = vec2f(0.0);
  if (column < params.dim) {
    for (var row = id.y; row < params.rows; row += LANES) {
      let i = row * params.dim + column;
      sum += dy[i] * vec2f((x[i] - stats[2u * row]) * stats[2u * row + 1u], 1.0);
    }
  }
  parts[lane] = sum;
  workgroupBarrier();
  for (var step = LANES / 2u; step > 0u; step >>= 1u) {
    if (id.y < step) { parts[lane] += parts[lane + step * COLUMNS]; }
    workgroupBarrier();
  }
  if (id.y == 0u && column < params.dim) {
    dw[column] = parts[lane].x;
    db[column] = parts[lane].y;
  }
}
