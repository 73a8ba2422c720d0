// A of any width: [m, k] where A_ALONG_K, else [k, m].
@group(0) @binding(1) var<storage, read> a: array<f32>;

fn a_at(row: u32, column: u32, size: vec2u) -> f32 {
  return select(0.0, a[row * params.a_stride + column], row < size.x && column < size.y);
}

// Four neighbours of a row, zeros outside of the matrix.
fn read_a(row: u32, column: u32) -> vec4f {
  let size = select(vec2u(params.k, params.m), vec2u(params.m, params.k), A_ALONG_K);
  return vec4f(a_at(row, column, size), a_at(row, column + 1u, size), a_at(row, column + 2u, size), a_at(row, column + 3u, size));
}
