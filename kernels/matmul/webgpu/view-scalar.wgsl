// Four neighbours of a row of VALUES, a matrix in rows of VIEW.y from VIEW.x on; zeros outside of `size`.
fn READ(row: u32, column: u32, size: vec2u) -> vec4f {
  var four = vec4f();
  if (row >= size.x || column >= size.y) { return four; }
  for (var i = 0u; i < min(4u, size.y - column) + NOTHING; i++) { four[i] = VALUES[VIEW.x + row * VIEW.y + column + i]; }
  return four;
}
