// B whose contiguous axis is a multiple of 4: [n, k] where B_ALONG_K, else [k, n].
@group(0) @binding(2) var<storage, read> b: array<vec4f>;

fn prepare(lane: u32) {}

// Four neighbours of a row (column is a multiple of 4), zeros outside of the matrix.
fn read_b(row: u32, column: u32) -> vec4f {
  let size = select(vec2u(params.k, params.n), vec2u(params.n, params.k), B_ALONG_K);
  if (row >= size.x || column >= size.y) { return vec4f(); }
  return b[(row * size.y + column) / 4u];
}
