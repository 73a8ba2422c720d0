// Numbers of a matrix in workgroup memory, four to a vec4u: the first of the two vectors.
fn unit_of(low: vec4f, high: vec4f) -> vec4u { return bitcast<vec4u>(low); }

fn number_of(unit: vec4u, i: u32) -> f32 { return bitcast<f32>(unit[i]); }
