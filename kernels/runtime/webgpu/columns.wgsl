// Sums over columns of a matrix: a workgroup takes COLUMNS of them, LANES invocations share each.
const COLUMNS = 16u;
const LANES = 16u;
var<workgroup> column_scratch: array<vec2f, 256>;

// The sum over the invocations of a column, for the one with id.y = 0; lane is the local index. Call in uniform control flow only.
fn reduce_columns(value: vec2f, lane: u32) -> vec2f {
  column_scratch[lane] = value;
  workgroupBarrier();
  for (var step = LANES / 2u; step > 0u; step >>= 1u) {
    if (lane < step * COLUMNS) { column_scratch[lane] += column_scratch[lane + step * COLUMNS]; }
    workgroupBarrier();
  }
  return column_scratch[lane];
}
