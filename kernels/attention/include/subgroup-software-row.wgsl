// Shared by the two kernels that work on rows of scores or weights, queries by keys: an invocation a query of a head. Zeros are written as far
// as products of weights read: see ../../matmul/webgpu/subgroups/subgroup-software.wgsl.
struct Params {
  query_length: u32, key_length: u32, heads: u32,
  // Elements from a row to the next one, a multiple of 4.
  stride: u32,
  window: u32,
  has_starts: u32,
  // Batch row and head of the first matrix, heads of a batch row and rows here.
  first_batch: u32, first_head: u32, heads_here: u32, rows: u32,
  // How far behind a query's own key products read.
  reach: u32,
  scale: f32,
}
const NONE = -1e30;
const KEYS = vec4u(0u, 1u, 2u, 3u);

// #include "../../runtime/webgpu/finite.wgsl"

struct Row {
  // Where it begins, in quads.
  at: u32,
  // Of lse.
  index: u32,
  // Keys from low to high are seen.
  low: u32, high: u32,
  // End of what products read.
  end: u32,
}

fn row_of(row: u32) -> Row {
  let i = row % params.query_length;
  let matrix = row / params.query_length;
  let b = params.first_batch + matrix / params.heads_here;
  let head = params.first_head + matrix % params.heads_here;
  let high = params.key_length - params.query_length + i;
  var low = high + 1u - min(params.window, high + 1u);
  if (params.has_starts != 0u) { low = max(low, u32(max(starts[b * params.key_length + high], 0))); }
  return Row(row * params.stride / 4u, (b * params.heads + head) * params.query_length + i, low, high, min(params.stride, high + params.reach));
}

fn seen(row: Row, j: u32) -> vec4<bool> {
  let keys = j + KEYS;
  return (keys >= vec4u(row.low)) & (keys <= vec4u(row.high));
}
