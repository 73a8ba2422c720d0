// B of any width: [n, k] where B_ALONG_K, else [k, n].
@group(0) @binding(2) var<storage, read> b: array<f32>;

fn prepare(lane: u32) {}

fn b_at(row: u32, column: u32, size: vec2u) -> f32 {
  return select(0.0, b[row * size.y + column], row < size.x && column < size.y);
}

// Four neighbours of a row, zeros outside of the matrix.
fn read_b(row: u32, column: u32) -> vec4f {
  let size = select(vec2u(params.k, params.n), vec2u(params.n, params.k), B_ALONG_K);
  return vec4f(b_at(row, column, size), b_at(row, column + 1u, size), b_at(row, column + 2u, size), b_at(row, column + 3u, size));
}
