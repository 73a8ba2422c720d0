// One workgroup computes a TILE_M x TILE_N tile of
//   C(m, n) = scale · Σ_k A(m, k)·B(k, n) + low_scale · Σ_j P(m, j)·Q(j, n) + bias(n)
// with the low-rank sum as more steps of the same loop. Put together in product.ts from this file, one a-*.wgsl, one b-*.wgsl,
// one out-*.wgsl and text constants: TILE_M, TILE_N, TILE_K, ROWS (rows of a thread: 4 or 8; it has 4 columns), EXTRA (first binding after the weight's),
// Staged (the vector type of the tiles in workgroup memory).
struct Params {
  m: u32, n: u32, k: u32,
  rank: u32,
  has_bias: u32,
  scale: f32,
  low_scale: f32,
  // From a row to the next one, in A and C: more than their widths where B is a part of a weight.
  a_stride: u32,
  out_stride: u32,
  // Adds to what C holds.
  accumulate: u32,
  // Those below are the 4-bit weights': see ../nf4-dequantize/decode.wgsl.
  offset: f32,
  zero: u32,
  nested: u32,
  rounding: u32,
}
// Which axis is contiguous in memory: true where A is [m, k] and where B is [n, k].
override A_ALONG_K: bool = true;
override B_ALONG_K: bool = true;

@group(0) @binding(EXTRA) var<storage, read> bias: array<f32>;
// [m, rank]
@group(0) @binding(EXTRA + 1) var<storage, read> low_p: array<f32>;
// Laid out as B is: [n, rank] or [rank, n].
@group(0) @binding(EXTRA + 2) var<storage, read> low_q: array<f32>;
@group(0) @binding(EXTRA + 3) var<uniform> params: Params;

const THREADS = (TILE_M / ROWS) * (TILE_N / 4u);
const A_QUADS = TILE_M / 4u;
const B_QUADS = TILE_N / 4u;
const K_QUADS = TILE_K / 4u;
const A_BLOCKS = A_QUADS * K_QUADS;
const B_BLOCKS = B_QUADS * K_QUADS;

// [k][quad of m], [k][quad of n]
var<workgroup> stage_a: array<Staged, TILE_K * A_QUADS>;
var<workgroup> stage_b: array<Staged, TILE_K * B_QUADS>;

// 4x4 blocks: column i holds four neighbours in m (or n) at k + i; zeros outside of the matrix.
fn block_a(m: u32, k: u32) -> mat4x4f {
  if (A_ALONG_K) { return transpose(mat4x4f(read_a(m, k), read_a(m + 1u, k), read_a(m + 2u, k), read_a(m + 3u, k))); }
  return mat4x4f(read_a(k, m), read_a(k + 1u, m), read_a(k + 2u, m), read_a(k + 3u, m));
}

fn block_b(n: u32, k: u32) -> mat4x4f {
  if (B_ALONG_K) { return transpose(mat4x4f(read_b(n, k), read_b(n + 1u, k), read_b(n + 2u, k), read_b(n + 3u, k))); }
  return mat4x4f(read_b(k, n), read_b(k + 1u, n), read_b(k + 2u, n), read_b(k + 3u, n));
}

fn low_p_at(m: u32, j: u32) -> f32 {
  return select(0.0, params.low_scale * low_p[m * params.rank + j], m < params.m && j < params.rank);
}

fn low_q_at(n: u32, j: u32) -> f32 {
  return select(0.0, low_q[select(j * params.n + n, n * params.rank + j, B_ALONG_K)], n < params.n && j < params.rank);
}

fn bias_of(n: u32) -> vec4f {
  if (params.has_bias == 0u) { return vec4f(); }
  let last = params.n - 1u;
  return vec4f(bias[n], bias[min(n + 1u, last)], bias[min(n + 2u, last)], bias[min(n + 3u, last)]);
}

// (quad, k quad) of block `index`, neighbouring indices along the contiguous axis.
fn place(index: u32, quads: u32, along_k: bool) -> vec2u {
  if (along_k) { return vec2u(index / K_QUADS, index % K_QUADS); }
  return vec2u(index % quads, index / quads);
}

fn stage_tiles(m0: u32, n0: u32, k0: u32, lane: u32) {
  for (var index = lane; index < A_BLOCKS + B_BLOCKS; index += THREADS) {
    if (index < A_BLOCKS) {
      let at = place(index, A_QUADS, A_ALONG_K);
      let block = params.scale * block_a(m0 + 4u * at.x, k0 + 4u * at.y);
      let first = 4u * at.y * A_QUADS + at.x;
      stage_a[first] = Staged(block[0]);
      stage_a[first + A_QUADS] = Staged(block[1]);
      stage_a[first + 2u * A_QUADS] = Staged(block[2]);
      stage_a[first + 3u * A_QUADS] = Staged(block[3]);
    } else {
      let at = place(index - A_BLOCKS, B_QUADS, B_ALONG_K);
      let block = block_b(n0 + 4u * at.x, k0 + 4u * at.y);
      let first = 4u * at.y * B_QUADS + at.x;
      stage_b[first] = Staged(block[0]);
      stage_b[first + B_QUADS] = Staged(block[1]);
      stage_b[first + 2u * B_QUADS] = Staged(block[2]);
      stage_b[first + 3u * B_QUADS] = Staged(block[3]);
    }
  }
}

// The factors are small and their rank may be anything: read one by one.
fn stage_low_tiles(m0: u32, n0: u32, j0: u32, lane: u32) {
  for (var index = lane; index < TILE_K * A_QUADS; index += THREADS) {
    let m = m0 + 4u * (index % A_QUADS);
    let j = j0 + index / A_QUADS;
    stage_a[index] = Staged(vec4f(low_p_at(m, j), low_p_at(m + 1u, j), low_p_at(m + 2u, j), low_p_at(m + 3u, j)));
  }
  for (var index = lane; index < TILE_K * B_QUADS; index += THREADS) {
    let n = n0 + 4u * (index % B_QUADS);
    let j = j0 + index / B_QUADS;
    stage_b[index] = Staged(vec4f(low_q_at(n, j), low_q_at(n + 1u, j), low_q_at(n + 2u, j), low_q_at(n + 3u, j)));
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  prepare(lane);
  let m0 = group.y * TILE_M;
  let n0 = group.x * TILE_N;
  let column = lane % B_QUADS;
  let row = lane / B_QUADS;
  let steps = (params.k + TILE_K - 1u) / TILE_K;
  let low_steps = (params.rank + TILE_K - 1u) / TILE_K;
  var sums: array<vec4f, ROWS>;
  for (var step = 0u; step < steps + low_steps; step++) {
    var depth = TILE_K;
    if (step < steps) {
      let k0 = step * TILE_K;
      stage_tiles(m0, n0, k0, lane);
      depth = min(TILE_K, params.k - k0);
    } else {
      let j0 = (step - steps) * TILE_K;
      stage_low_tiles(m0, n0, j0, lane);
      depth = min(TILE_K, params.rank - j0);
    }
    workgroupBarrier();
    for (var k = 0u; k < depth; k++) {
      let b = vec4f(stage_b[k * B_QUADS + column]);
      for (var quad = 0u; quad < ROWS / 4u; quad++) {
        let a = vec4f(stage_a[k * A_QUADS + row * (ROWS / 4u) + quad]);
        sums[4u * quad] += a.x * b;
        sums[4u * quad + 1u] += a.y * b;
        sums[4u * quad + 2u] += a.z * b;
        sums[4u * quad + 3u] += a.w * b;
      }
    }
    workgroupBarrier();
  }
  let n = n0 + 4u * column;
  if (n >= params.n) { return; }
  let added = bias_of(n);
  for (var i = 0u; i < ROWS; i++) {
    let m = m0 + row * ROWS + i;
    if (m >= params.m) { continue; }
    var value = sums[i] + added;
    if (params.accumulate != 0u) { value += stored(m, n); }
    store(m, n, value);
  }
}
