// One workgroup a head and 32 queries: online softmax over tiles of 32 keys, o accumulated in registers. q and k come rotated.
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> starts: array<i32>;
@group(0) @binding(4) var<storage, read_write> o: array<f32>;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

// #include "include/tile.wgsl"

var<workgroup> row_chunk: array<vec4f, CHUNK * 8u>;
var<workgroup> key_chunk: array<vec4f, CHUNK * 8u>;
// Weights by key, then query.
var<workgroup> weights: array<vec4f, TILE * 8u>;
var<workgroup> staged: array<f32, ROWS * COLUMNS * 8u>;
var<workgroup> partial: array<vec4f, 64u>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let b = group.z;
  let head = group.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let i0 = group.x * TILE;
  let ty = lane / 8u;
  let tx = lane % 8u;
  let row = i0 + 4u * ty;
  let low = vec4u(lowest_key(b, row), lowest_key(b, row + 1u), lowest_key(b, row + 2u), lowest_key(b, row + 3u));
  let high = vec4u(place(row)) + vec4u(0u, 1u, 2u, 3u);
  var peak = vec4f(NONE);
  var sum = vec4f(0.0);
  // Queries with a score that is not finite: what becomes of them is NaN.
  var spoilt = vec4<bool>();
  var out: array<vec4f, COLUMNS>;
  let last = place(min(i0 + TILE, params.query_length) - 1u);
  for (var j0 = lowest_key_of_tile(b, i0) / TILE * TILE; j0 <= last; j0 += TILE) {
    var s = mat4x4f();
    for (var d0 = 0u; d0 < params.dim; d0 += CHUNK) {
      let d = d0 + tx;
      let key = j0 + 4u * ty;
      workgroupBarrier();
      row_chunk[tx * 8u + ty] = vec4f(q_at(b, head, row, d), q_at(b, head, row + 1u, d), q_at(b, head, row + 2u, d), q_at(b, head, row + 3u, d));
      key_chunk[tx * 8u + ty] = vec4f(k_at(b, kv_head, key, d), k_at(b, kv_head, key + 1u, d), k_at(b, kv_head, key + 2u, d), k_at(b, kv_head, key + 3u, d));
      workgroupBarrier();
      for (var e = 0u; e < chunk_end(); e++) { s += outer(row_chunk[e * 8u + ty], key_chunk[e * 8u + tx]); }
    }
    var highest = peak;
    for (var c = 0u; c < 4u; c++) {
      let key = vec4u(j0 + 4u * tx + c);
      let sees = (key >= low) & (key <= high);
      spoilt |= sees & not_finite(s[c]);
      s[c] = select(vec4f(NONE), s[c] * params.scale, sees);
      highest = max(highest, s[c]);
    }
    partial[lane] = highest;
    workgroupBarrier();
    for (var c = 0u; c < 8u; c++) { highest = max(highest, partial[ty * 8u + c]); }
    let shrink = exp(peak - highest);
    peak = highest;
    sum *= shrink;
    for (var c = 0u; c < 4u; c++) {
      let key = vec4u(j0 + 4u * tx + c);
      let w = select(vec4f(0.0), exp(s[c] - peak), (key >= low) & (key <= high));
      weights[(4u * tx + c) * 8u + ty] = w;
      sum += w;
    }
    for (var c = 0u; c < columns_end(); c++) { out[c] *= shrink; }
    for (var r0 = 0u; r0 < min(TILE, params.key_length - j0); r0 += ROWS) {
      workgroupBarrier();
      for (var e = lane; e < ROWS * columns_end() * 8u; e += 64u) {
        staged[e] = v_at(b, kv_head, j0 + r0 + e / (columns_end() * 8u), e % (columns_end() * 8u));
      }
      workgroupBarrier();
      for (var r = 0u; r < rows_end(); r++) {
        let w = weights[(r0 + r) * 8u + ty];
        for (var c = 0u; c < columns_end(); c++) { out[c] += w * staged[r * columns_end() * 8u + c * 8u + tx]; }
      }
    }
  }
  workgroupBarrier();
  partial[lane] = select(sum, vec4f(nan(lane)), spoilt);
  workgroupBarrier();
  var total = vec4f(0.0);
  for (var c = 0u; c < 8u; c++) { total += partial[ty * 8u + c]; }
  // A query that sees no key: everything is 0.
  let bad = not_finite(total);
  let seen = total > vec4f(0.0);
  let safe = select(vec4f(1.0), total, seen);
  let value = select(select(vec4f(0.0), peak + log(safe), seen), vec4f(nan(lane)), bad);
  for (var c = 0u; c < columns_end(); c++) {
    let y = select(out[c] / safe, vec4f(nan(lane)), bad);
    let d = c * 8u + tx;
    put(b, head, row, d, y.x);
    put(b, head, row + 1u, d, y.y);
    put(b, head, row + 2u, d, y.z);
    put(b, head, row + 3u, d, y.w);
  }
  if (tx > 0u) { return; }
  for (var r = 0u; r < 4u; r++) {
    if (row + r < params.query_length) { lse[(b * params.heads + head) * params.query_length + row + r] = value[r]; }
  }
}

fn put(b: u32, head: u32, i: u32, d: u32, y: f32) {
  if (i < params.query_length && d < params.dim) { o[((b * params.query_length + i) * params.heads + head) * params.dim + d] = y; }
}
