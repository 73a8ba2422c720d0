// The factor s of act(x) = x · s, and act'(x). ACTIVATION: 0 silu, 1 gelu, 2 gelu with tanh, 3 relu.
override ACTIVATION: u32 = 0u;

// #include "../../runtime/webgpu/finite.wgsl"

fn sigmoid(x: f32) -> f32 {
  // Past ±80 the result is 0 or 1 in float32, and exp might overflow.
  return 1.0 / (1.0 + exp(clamp(-x, -80.0, 80.0)));
}

// Abramowitz & Stegun 7.1.26, absolute error below 1.5e-7. The tail of |x|; 1 minus it above zero.
fn normal_cdf(x: f32) -> f32 {
  let t = 1.0 / (1.0 + 0.3275911 * 0.70710678 * abs(x));
  let q = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  let tail = 0.5 * q * exp(max(-0.5 * x * x, -80.0));
  return select(1.0 - tail, tail, x < 0.0);
}

fn factor(x: f32) -> f32 {
  if (ACTIVATION == 0u) { return sigmoid(x); }
  if (ACTIVATION == 1u) { return normal_cdf(x); }
  // A NaN is a factor of its own kind.
  if (ACTIVATION == 3u) { return select(select(0.0, 1.0, x > 0.0), x, is_nan(x)); }
  return sigmoid(1.5957691216 * x * (1.0 + 0.044715 * x * x));
}

fn slope(x: f32, s: f32) -> f32 {
  if (ACTIVATION == 0u) { return s * (1.0 + x * (1.0 - s)); }
  if (ACTIVATION == 1u) { return s + x * 0.39894228 * exp(max(-0.5 * x * x, -80.0)); }
  if (ACTIVATION == 3u) { return s; }
  return s + x * 1.5957691216 * (1.0 + 0.134145 * x * x) * s * (1.0 - s);
}
