// One workgroup a head and 32 queries: dq = scale · (p ∘ (dy · vᵀ − dot)) · k over tiles of 32 keys, p recomputed from the saved log-sum-exp.
// q and k come rotated; dq is that of the rotated q.
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> starts: array<i32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read> stats: array<vec2f>;
@group(0) @binding(6) var<storage, read_write> dq: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

// #include "include/tile.wgsl"
// #include "include/tile-backward.wgsl"

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
  let at0 = stats_at(b, head, row);
  let at1 = stats_at(b, head, row + 1u);
  let at2 = stats_at(b, head, row + 2u);
  let at3 = stats_at(b, head, row + 3u);
  let lse = vec4f(at0.x, at1.x, at2.x, at3.x);
  let dot = vec4f(at0.y, at1.y, at2.y, at3.y);
  var out: array<vec4f, COLUMNS>;
  let last = place(min(i0 + TILE, params.query_length) - 1u);
  for (var j0 = lowest_key_of_tile(b, i0) / TILE * TILE; j0 <= last; j0 += TILE) {
    var s = mat4x4f();
    var ds = mat4x4f();
    for (var d0 = 0u; d0 < params.dim; d0 += CHUNK) {
      workgroupBarrier();
      stage_chunk(b, head, kv_head, i0, j0, d0, lane);
      workgroupBarrier();
      for (var e = 0u; e < chunk_end(); e++) {
        s += outer(q_chunk[e * 8u + ty], k_chunk[e * 8u + tx]);
        ds += outer(dy_chunk[e * 8u + ty], v_chunk[e * 8u + tx]);
      }
    }
    for (var c = 0u; c < 4u; c++) {
      let key = vec4u(j0 + 4u * tx + c);
      let p = weight_of(s[c] * params.scale - lse, lane);
      d_weights[(4u * tx + c) * 8u + ty] = select(vec4f(0.0), p * (ds[c] - dot) * params.scale, (key >= low) & (key <= high));
    }
    for (var r0 = 0u; r0 < min(TILE, params.key_length - j0); r0 += ROWS) {
      workgroupBarrier();
      for (var e = lane; e < ROWS * columns_end() * 8u; e += 64u) {
        staged[e] = k_at(b, kv_head, j0 + r0 + e / (columns_end() * 8u), e % (columns_end() * 8u));
      }
      workgroupBarrier();
      for (var r = 0u; r < rows_end(); r++) {
        let w = d_weights[(r0 + r) * 8u + ty];
        for (var c = 0u; c < columns_end(); c++) { out[c] += w * staged[r * columns_end() * 8u + c * 8u + tx]; }
      }
    }
  }
  for (var c = 0u; c < columns_end(); c++) {
    let y = out[c];
    let d = c * 8u + tx;
    put(b, head, row, d, y.x);
    put(b, head, row + 1u, d, y.y);
    put(b, head, row + 2u, d, y.z);
    put(b, head, row + 3u, d, y.w);
  }
}

fn put(b: u32, head: u32, i: u32, d: u32, y: f32) {
  if (i < params.query_length && d < params.dim) { dq[((b * params.query_length + i) * params.heads + head) * params.dim + d] = y; }
}
