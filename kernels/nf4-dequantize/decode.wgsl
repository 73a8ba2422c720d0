// Values of a 4-bit weight: w = code[nibble] · absmax in float32, rounded to the checkpoint's dtype. The text that includes this declares
//   packed: array<u32>   eight codes an element: bytes little-endian, the first value of a byte in its high nibble
//   tables: array<f32>   code[16], then, where nested, map[256] and nested_absmax
//   scales: array<u32>   absmax as float32 bits, or, where nested, four 8-bit codes an element
// and `params` with `offset: f32`, `zero: u32` (always 0, which the compiler cannot know), `nested: u32` and `rounding: u32`
// (0: to float32, 1: to float16, 2: to bfloat16).
override BLOCK_SIZE: u32 = 64u;
override NESTED_BLOCK_SIZE: u32 = 256u;

// Looked up at random by every invocation: workgroup memory serves that better than storage.
var<workgroup> code_values: array<f32, 16>;

// To be called first, in uniform control flow.
fn load_code_values(lane: u32) {
  if (lane < 16u) { code_values[lane] = tables[lane]; }
  workgroupBarrier();
}

fn absmax_of(block: u32) -> f32 {
  if (params.nested == 0u) { return bitcast<f32>(scales[block]); }
  let code = (scales[block / 4u] >> (8u * (block % 4u))) & 255u;
  let product = tables[16u + code] * tables[272u + block / NESTED_BLOCK_SIZE];
  // Through an integer operation that is none, so that no compiler fuses product and sum: the product is rounded on its own.
  return bitcast<f32>(bitcast<u32>(product) ^ params.zero) + params.offset;
}

// To nearest, ties to even, in integer arithmetic: needs no shader-f16 and no particular rounding mode of the device.
fn round_to_dtype(values: vec4f) -> vec4f {
  if (params.rounding == 0u) { return values; }
  let bits = bitcast<vec4u>(values);
  let sign = bits & vec4u(0x80000000u);
  // What is not finite stays so: the bits of a NaN may not run over.
  let magnitude = min(bits & vec4u(0x7fffffffu), vec4u(0x7f800000u));
  if (params.rounding == 2u) { return bitcast<vec4f>(((magnitude + 0x7fffu + ((bits >> vec4u(16u)) & vec4u(1u))) & vec4u(0xffff0000u)) | sign); }
  let rounded = (magnitude + 0xfffu + ((bits >> vec4u(13u)) & vec4u(1u))) & vec4u(0xffffe000u);
  let normal = bitcast<vec4f>(select(rounded, vec4u(0x7f800000u), rounded >= vec4u(0x47800000u)) | sign);
  // Below 2^-14 float16 has a fixed step of 2^-24.
  let small = round(values * 16777216.0) * 5.9604644775390625e-8;
  return select(normal, small, abs(values) < vec4f(6.103515625e-5));
}

// Four values from `index` on, a multiple of 4; BLOCK_SIZE is a multiple of 4.
fn decode_four(index: u32) -> vec4f {
  let codes = packed[index / 8u] >> (4u * (index & 4u));
  let values = vec4f(code_values[(codes >> 4u) & 15u], code_values[codes & 15u], code_values[(codes >> 12u) & 15u], code_values[(codes >> 8u) & 15u]);
  return round_to_dtype(values * absmax_of(index / BLOCK_SIZE));
}

// Eight values from `index` on, a multiple of 8; so is BLOCK_SIZE.
fn decode_eight(index: u32) -> mat2x4f {
  let codes = packed[index / 8u];
  let low = vec4f(code_values[(codes >> 4u) & 15u], code_values[codes & 15u], code_values[(codes >> 12u) & 15u], code_values[(codes >> 8u) & 15u]);
  let high = vec4f(code_values[(codes >> 20u) & 15u], code_values[(codes >> 16u) & 15u], code_values[codes >> 28u], code_values[(codes >> 24u) & 15u]);
  let scale = absmax_of(index / BLOCK_SIZE);
  return mat2x4f(round_to_dtype(low * scale), round_to_dtype(high * scale));
}

// Four values from any `index` on, in two blocks at most (BLOCK_SIZE is 4 or more); zeros from `count` on.
fn decode_some(index: u32, count: u32) -> vec4f {
  let word = index / 8u;
  let shift = 4u * (index % 8u);
  // The next word's codes follow; a shift by 32 counts as one by 0, hence the two steps.
  let codes = (in_order(packed[word]) >> shift) | ((in_order(packed[word + 1u]) << (28u - shift)) << 4u);
  let values = vec4f(code_values[codes & 15u], code_values[(codes >> 4u) & 15u], code_values[(codes >> 8u) & 15u], code_values[(codes >> 12u) & 15u]);
  let block = index / BLOCK_SIZE;
  let last = index + min(count, 4u) - 1u;
  let steps = vec4u(0u, 1u, 2u, 3u);
  let scale = select(vec4f(absmax_of(block)), vec4f(absmax_of(last / BLOCK_SIZE)), (vec4u(index) + steps) / BLOCK_SIZE > vec4u(block));
  return round_to_dtype(select(vec4f(), values * scale, steps < vec4u(count)));
}

// Eight codes with the first in the lowest bits.
fn in_order(codes: u32) -> u32 { return ((codes & 0x0f0f0f0fu) << 4u) | ((codes >> 4u) & 0x0f0f0f0fu); }
