// A whose contiguous axis is a multiple of 4: [m, k] where A_ALONG_K, else [k, m].
@group(0) @binding(1) var<storage, read> a: array<vec4f>;

// Four neighbours of a row (column is a multiple of 4), zeros outside of the matrix.
fn read_a(row: u32, column: u32) -> vec4f {
  let size = select(vec2u(params.k, params.m), vec2u(params.m, params.k), A_ALONG_K);
  if (row >= size.x || column >= size.y) { return vec4f(); }
  return a[(row * params.a_stride + column) / 4u];
}
