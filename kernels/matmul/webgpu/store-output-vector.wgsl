// Four neighbours of a row of output INDEX; its width, its rows' length and its offset are multiples of 4.
fn put_INDEX(row: u32, column: u32, width: u32, values: vec4f) {
  VALUES[(params.outs[INDEX].offset + row * params.outs[INDEX].stride + column) / 4u] ASSIGN values;
}
