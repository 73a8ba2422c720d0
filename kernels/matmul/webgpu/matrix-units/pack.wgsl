// Rows of several matrices beside each other, as a subgroup's matrices take them:
//   packed(row, first_i + k) = 2^e(row) · scale_i · A_i(row, k)
// and zeros up to end_i and below the last row. 2^e brings the largest number of a row, over all its matrices, to [2^13, 2^14): float16 then
// keeps all its bits of what is down to 2^-27 of that, whether these are activations of thousands or gradients of 1e-9, and nothing overflows.
// Put together in pack.ts with a reader a matrix; PER numbers make a vec4u.
struct View { k: u32, first: u32, end: u32, scale: f32, at: vec2u, unused: vec2u }
// width: vec4u of a packed row.
struct Params { rows: u32, padded: u32, width: u32, unused: u32, views: array<View, $views> }

const THREADS = 64u;
var<workgroup> largest: atomic<u32>;

// As bits, whose order is that of the numbers; a NaN is above all.
fn largest_of(values: vec4f) -> u32 {
  let bits = bitcast<vec4u>(values) & vec4u(0x7fffffffu);
  return max(max(bits.x, bits.y), max(bits.z, bits.w));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.padded) { return; }
  var most = 0u;
  for (var k = 4u * lane; k < params.views[$i].k; k += 4u * THREADS) { most = max(most, largest_of(number_$i(row, k))); } // #each views
  atomicMax(&largest, most);
  workgroupBarrier();
  // 13 above the exponent of the largest becomes 0: biased by 127, and within what a float32 has.
  let exponent = clamp(267u - (atomicLoad(&largest) >> 23u), 1u, 253u);
  let factor = bitcast<f32>(exponent << 23u);
  let start = row * params.width;
  for (var k = PER * lane; k < params.views[$i].end - params.views[$i].first; k += PER * THREADS) { packed[start + (params.views[$i].first + k) / PER] = unit_of(factor * number_$i(row, k), factor * number_$i(row, k + 4u)); } // #each views
  if (lane == 0u) { unscale[row] = bitcast<f32>((254u - exponent) << 23u); }
}
