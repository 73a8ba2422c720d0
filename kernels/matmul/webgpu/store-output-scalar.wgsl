// Four neighbours of a row of output INDEX, as far as it goes.
fn put_INDEX(row: u32, column: u32, width: u32, values: vec4f) {
  let at = params.outs[INDEX].offset + row * params.outs[INDEX].stride + column;
  for (var i = 0u; i < min(4u, width - column); i++) { VALUES[at + i] ASSIGN values[i]; }
}
