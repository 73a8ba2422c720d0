// Four neighbours of a row of VALUES, a matrix in rows of VIEW.y from VIEW.x on (widths and both multiples of 4); zeros outside of `size`.
fn READ(row: u32, column: u32, size: vec2u) -> vec4f {
  if (row >= size.x || column >= size.y) { return vec4f(); }
  return VALUES[(VIEW.x + row * VIEW.y + column) / 4u];
}
