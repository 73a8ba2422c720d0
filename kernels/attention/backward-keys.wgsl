// One workgroup a key head and 32 keys: dv = pᵀ · dy and dk = scale · (p ∘ (dy · vᵀ − dot))ᵀ · q over the query heads that share the
// key head and tiles of 32 queries. q and k come rotated; dk is that of the rotated k.
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> starts: array<i32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read> stats: array<vec2f>;
@group(0) @binding(6) var<storage, read_write> dk: array<f32>;
@group(0) @binding(7) var<storage, read_write> dv: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

// #include "include/tile.wgsl"
// #include "include/tile-backward.wgsl"

// Weights by query, then key.
var<workgroup> weights: array<vec4f, TILE * 8u>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let b = group.z;
  let kv_head = group.y;
  let shared_by = params.heads / params.kv_heads;
  let j0 = group.x * TILE;
  let ty = lane / 8u;
  let tx = lane % 8u;
  let row = j0 + 4u * ty;
  let key = vec4u(row) + vec4u(0u, 1u, 2u, 3u);
  var key_out: array<vec4f, COLUMNS>;
  var value_out: array<vec4f, COLUMNS>;
  // Queries from the one that stands on the first key to the last whose window reaches the last key.
  let first = place(0u);
  let begin = select(0u, j0 - first, j0 > first) / TILE * TILE;
  let reach = min(min(j0 + TILE, params.key_length) - 1u + params.window, params.key_length);
  let end = select(0u, reach - first, reach > first);
  for (var i0 = begin; i0 < end; i0 += TILE) {
    // All queries of the tile belong to segments that begin after these keys.
    if (lowest_key_of_tile(b, i0) >= j0 + TILE) { continue; }
    for (var n = 0u; n < shared_by; n++) {
      let head = kv_head * shared_by + n;
      var s = mat4x4f();
      var ds = mat4x4f();
      for (var d0 = 0u; d0 < params.dim; d0 += CHUNK) {
        workgroupBarrier();
        stage_chunk(b, head, kv_head, i0, j0, d0, lane);
        workgroupBarrier();
        for (var e = 0u; e < chunk_end(); e++) {
          s += outer(k_chunk[e * 8u + ty], q_chunk[e * 8u + tx]);
          ds += outer(v_chunk[e * 8u + ty], dy_chunk[e * 8u + tx]);
        }
      }
      for (var c = 0u; c < 4u; c++) {
        let i = i0 + 4u * tx + c;
        let stat = stats_at(b, head, i);
        let seen = (key >= vec4u(lowest_key(b, i))) & (key <= vec4u(place(i)));
        let p = select(vec4f(0.0), weight_of(s[c] * params.scale - stat.x, lane), seen);
        weights[(4u * tx + c) * 8u + ty] = p;
        d_weights[(4u * tx + c) * 8u + ty] = p * (ds[c] - stat.y) * params.scale;
      }
      for (var r0 = 0u; r0 < min(TILE, params.query_length - i0); r0 += ROWS) {
        workgroupBarrier();
        for (var e = lane; e < ROWS * columns_end() * 8u; e += 64u) {
          staged[e] = dy_at(b, head, i0 + r0 + e / (columns_end() * 8u), e % (columns_end() * 8u));
        }
        workgroupBarrier();
        for (var r = 0u; r < rows_end(); r++) {
          let w = weights[(r0 + r) * 8u + ty];
          for (var c = 0u; c < columns_end(); c++) { value_out[c] += w * staged[r * columns_end() * 8u + c * 8u + tx]; }
        }
        workgroupBarrier();
        for (var e = lane; e < ROWS * columns_end() * 8u; e += 64u) {
          staged[e] = q_at(b, head, i0 + r0 + e / (columns_end() * 8u), e % (columns_end() * 8u));
        }
        workgroupBarrier();
        for (var r = 0u; r < rows_end(); r++) {
          let w = d_weights[(r0 + r) * 8u + ty];
          for (var c = 0u; c < columns_end(); c++) { key_out[c] += w * staged[r * columns_end() * 8u + c * 8u + tx]; }
        }
      }
    }
  }
  for (var c = 0u; c < columns_end(); c++) {
    let x = key_out[c];
    let y = value_out[c];
    let d = c * 8u + tx;
    put(b, kv_head, row, d, x.x, y.x);
    put(b, kv_head, row + 1u, d, x.y, y.y);
    put(b, kv_head, row + 2u, d, x.z, y.z);
    put(b, kv_head, row + 3u, d, x.w, y.w);
  }
}

fn put(b: u32, kv_head: u32, j: u32, d: u32, x: f32, y: f32) {
  if (j >= params.key_length || d >= params.dim) { return; }
  let at = ((b * params.key_length + j) * params.kv_heads + kv_head) * params.dim + d;
  dk[at] = x;
  dv[at] = y;
}
