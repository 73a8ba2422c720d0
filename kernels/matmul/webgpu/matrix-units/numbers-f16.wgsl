// Numbers of a matrix in workgroup memory, eight of float16 to a vec4u.
fn unit_of(low: vec4f, high: vec4f) -> vec4u {
  return vec4u(pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw));
}

fn number_of(unit: vec4u, i: u32) -> f32 { return unpack2x16float(unit[i / 2u])[i % 2u]; }
