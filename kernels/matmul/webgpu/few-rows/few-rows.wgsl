// Dot products of many rows with a few vectors, the reduction over k split over the workgroup:
//   C(p, q) = scale · Σ_k B(p, k)·A(q, k) + low_scale · Σ_j Q(p, j)·P(q, j) + bias(p)
// For products with a few tokens (generation) and with a few columns (the low-rank factors). A is read as [few, k] or, where not
// A_ALONG_K, as [k, few]; B is [many, k]. Put together in few-rows.ts as ../tiled/product.wgsl is; FEW vectors a workgroup.
struct Params {
  // Sizes as ../tiled/product.wgsl names them: m = vectors, n = rows.
  m: u32, n: u32, k: u32,
  rank: u32,
  has_bias: u32,
  scale: f32,
  low_scale: f32,
  a_stride: u32,
  out_stride: u32,
  accumulate: u32,
  offset: f32,
  zero: u32,
  nested: u32,
  rounding: u32,
  // C(p, q) lies at p · row_stride + q · vector_stride.
  row_stride: u32,
  vector_stride: u32,
}
override A_ALONG_K: bool = true;
override B_ALONG_K: bool = true;

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(EXTRA) var<storage, read> bias: array<f32>;
// [m, rank]
@group(0) @binding(EXTRA + 1) var<storage, read> low_p: array<f32>;
// [n, rank]
@group(0) @binding(EXTRA + 2) var<storage, read> low_q: array<f32>;
@group(0) @binding(EXTRA + 3) var<uniform> params: Params;

const THREADS = 64u;
const MANY = 4u;
const SUMS = MANY * FEW;

fn vector_at(q: u32, k: u32) -> vec4f {
  if (A_ALONG_K) { return read_a(q, k); }
  return vec4f(read_a(k, q).x, read_a(k + 1u, q).x, read_a(k + 2u, q).x, read_a(k + 3u, q).x);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  prepare(lane);
  let p0 = (group.x + group.y * groups.x) * MANY;
  let q0 = group.z * FEW;
  var sums: array<f32, SUMS>;
  for (var k = 4u * lane; k < params.k; k += 4u * THREADS) {
    var rows: array<vec4f, MANY>;
    for (var p = 0u; p < MANY; p++) { rows[p] = read_b(p0 + p, k); }
    for (var q = 0u; q < FEW; q++) {
      let vector = vector_at(q0 + q, k);
      for (var p = 0u; p < MANY; p++) { sums[q * MANY + p] += dot(rows[p], vector); }
    }
  }
  for (var i = 0u; i < SUMS; i++) { contribute(i, sums[i], lane); }
  workgroupBarrier();
  let sum = total(lane);
  if (lane >= SUMS) { return; }
  let p = p0 + lane % MANY;
  let q = q0 + lane / MANY;
  if (p >= params.n || q >= params.m) { return; }
  var low = 0.0;
  for (var j = 0u; j < params.rank; j++) { low += low_p[q * params.rank + j] * low_q[p * params.rank + j]; }
  var value = params.scale * sum + params.low_scale * low;
  if (params.has_bias != 0u) { value += bias[p]; }
  out[p * params.row_stride + q * params.vector_stride] = value;
}
