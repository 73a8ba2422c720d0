// One subgroup, a workgroup by itself, computes a tile of
//   C(m, n) = scale · Σ_k A(m, k)·B(k, n) + bias(n) [+ what C holds]
// for devices with no GPU behind them. There a subgroup is a vector of the processor; every load, from workgroup memory too, takes an
// instruction a lane, a barrier puts aside all that lanes hold, and handing a value to all lanes costs next to nothing. So each lane reads
// a 4x4 block of A and one of B, hands its block of A round, and holds 4 · ROWS rows of its four columns. Put together in subgroup-software.ts: ROWS,
// LANES, readers of A and B in front, one line a lane where that is marked.
struct Params {
  m: u32, n: u32, k: u32,
  // 0, which the compiler cannot know: it does not unroll loops that end there, and takes a second less for each.
  zero: u32,
  scale: f32,
  accumulate: u32,
  has_bias: u32,
  bias: u32,
  // Products of one size in one dispatch: those of the heads of each row of a batch.
  heads: u32,
  // Query i of attention sees keys up to first + i. 1: C is queries by keys, others are not computed; 2: A is queries by keys, and 3: keys
  // by queries, with zeros for others.
  causal: u32,
  first: u32,
  unused: u32,
  a: View, b: View, out: View,
}
// Element (row, column) of the matrix of a head lies at offset + batch row · outer + head / shared_by · inner + row · stride + column.
struct View { offset: u32, stride: u32, outer: u32, inner: u32, shared_by: u32, unused_a: u32, unused_b: u32, unused_c: u32 }
override A_ALONG_K: bool = true;
override B_ALONG_K: bool = true;
// A and B have changed places: C' is computed.
override SWAPPED: bool = false;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

// Offset and length of a row of the matrices of this head.
var<private> own_a: vec2u;
var<private> own_b: vec2u;
var<private> own_out: vec2u;

fn of_head(view: View, z: u32) -> vec2u {
  return vec2u(view.offset + z / params.heads * view.outer + z % params.heads / view.shared_by * view.inner, view.stride);
}

// 4x4 blocks: column i holds four neighbours in m (or n) at k + i.
fn block_a(m: u32, k: u32) -> mat4x4f {
  let size = select(vec2u(params.k, params.m), vec2u(params.m, params.k), A_ALONG_K);
  let at = select(vec2u(k, m), vec2u(m, k), A_ALONG_K);
  var block: mat4x4f;
  for (var i = 0u; i < 4u + params.zero; i++) { block = mat4x4f(block[1], block[2], block[3], read_a(at.x + i, at.y, size)); }
  if (A_ALONG_K) { return transpose(block); }
  return block;
}

fn block_b(n: u32, k: u32) -> mat4x4f {
  let size = select(vec2u(params.k, params.n), vec2u(params.n, params.k), B_ALONG_K);
  let at = select(vec2u(k, n), vec2u(n, k), B_ALONG_K);
  var block: mat4x4f;
  for (var i = 0u; i < 4u + params.zero; i++) { block = mat4x4f(block[1], block[2], block[3], read_b(at.x + i, at.y, size)); }
  if (B_ALONG_K) { return transpose(block); }
  return block;
}

fn add_products(sums: ptr<function, array<mat4x4f, ROWS>>, a: vec4f, b: vec4f) {
  { let x = subgroupBroadcast(a, $iu); (*sums)[$i] += mat4x4f(x.x * b, x.y * b, x.z * b, x.w * b); } // #each rows
}

fn bias_of(n: u32) -> vec4f {
  if (params.has_bias == 0u) { return vec4f(); }
  let last = params.n - 1u;
  return vec4f(bias[params.bias + n], bias[params.bias + min(n + 1u, last)], bias[params.bias + min(n + 2u, last)], bias[params.bias + min(n + 3u, last)]);
}

// Four neighbours of a row, as far as it goes.
fn put(m: u32, n: u32, values: vec4f) {
  let size = select(vec2u(params.m, params.n), vec2u(params.n, params.m), SWAPPED);
  if (m >= size.x || n >= size.y) { return; }
  let at = own_out.x + m * own_out.y + n;
  if (params.accumulate != 0u) { out[at / 4u] += values; } else { out[at / 4u] = values; } // #vector
  for (var i = 0u; i < min(4u, size.y - n); i++) { out[at + i] = values[i] + select(0.0, out[at + i], params.accumulate != 0u); } // #scalar
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let m0 = group.y * 4u * ROWS;
  let n = group.x * 4u * LANES + 4u * lane;
  own_a = of_head(params.a, group.z);
  own_b = of_head(params.b, group.z);
  own_out = of_head(params.out, group.z);
  let reach = params.first + m0 + 4u * ROWS;
  if (params.causal == 1u && group.x * 4u * LANES >= reach) { return; }
  let begin = select(0u, (m0 - min(m0, params.first)) / 4u * 4u, params.causal == 3u);
  let end = select(params.k, min(params.k, reach), params.causal == 2u);
  var sums: array<mat4x4f, ROWS>;
  for (var k = begin; k < end; k += 4u) {
    let a = block_a(select(params.m, m0 + 4u * lane, lane < ROWS), k);
    let b = block_b(n, k);
    add_products(&sums, a[0], b[0]);
    add_products(&sums, a[1], b[1]);
    add_products(&sums, a[2], b[2]);
    add_products(&sums, a[3], b[3]);
  }
  let added = bias_of(n);
  // The next four rows move to the front: an index known to the compiler keeps all of them in registers.
  for (var i = 0u; i < ROWS + params.zero; i++) {
    let m = m0 + 4u * i;
    var block = params.scale * sums[0] + mat4x4f(added, added, added, added);
    if (SWAPPED) { block = transpose(block); }
    let at = select(vec2u(m, n), vec2u(n, m), SWAPPED);
    for (var j = 0u; j < 4u + params.zero; j++) {
      put(at.x + j, at.y, block[0]);
      block = mat4x4f(block[1], block[2], block[3], block[0]);
    }
    sums[$i] = sums[min($iu + 1u, ROWS - 1u)]; // #each rows
  }
}
