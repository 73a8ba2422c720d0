// C `[m, n]` of any width.
@group(0) @binding(0) var<storage, read_write> out: array<f32>;

// Four neighbours of a row, as far as it goes.
fn store(m: u32, n: u32, values: vec4f) {
  for (var c = 0u; c < min(4u, params.n - n); c++) { out[m * params.out_stride + n + c] = values[c]; }
}

fn stored(m: u32, n: u32) -> vec4f {
  var values: vec4f;
  for (var c = 0u; c < min(4u, params.n - n); c++) { values[c] = out[m * params.out_stride + n + c]; }
  return values;
}
