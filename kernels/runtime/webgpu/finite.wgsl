// NaN and infinities by their bits: `max`, `min`, `clamp` and some drivers' `exp` pass over a NaN, and compilers may take it that none is compared.
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }

fn not_finite(x: vec4f) -> vec4<bool> { return (bitcast<vec4u>(x) & vec4u(0x7f800000u)) == vec4u(0x7f800000u); }

// A NaN. WGSL refuses one that is constant, and `lane` is below 2^22.
fn nan(lane: u32) -> f32 { return bitcast<f32>(0x7fc00000u | lane); }
