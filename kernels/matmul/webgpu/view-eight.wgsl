// Eight neighbours of a row of B; zeros outside of `size`.
fn read_eight_INDEX(row: u32, column: u32, size: vec2u) -> mat2x4f {
  return mat2x4f(read_b_INDEX(row, column, size), read_b_INDEX(row, column + 4u, size));
}
