// What the two backward kernels stage: 8 dimensions of 32 queries and 32 keys, each element four neighbouring rows of one dimension.
var<workgroup> q_chunk: array<vec4f, CHUNK * 8u>;
var<workgroup> k_chunk: array<vec4f, CHUNK * 8u>;
var<workgroup> dy_chunk: array<vec4f, CHUNK * 8u>;
var<workgroup> v_chunk: array<vec4f, CHUNK * 8u>;
// Gradients of the scores by column of the tile, then row.
var<workgroup> d_weights: array<vec4f, TILE * 8u>;
var<workgroup> staged: array<f32, ROWS * COLUMNS * 8u>;

fn dy_at(b: u32, head: u32, i: u32, d: u32) -> f32 {
  let x = dy[((b * params.query_length + min(i, params.query_length - 1u)) * params.heads + head) * params.dim + min(d, params.dim - 1u)];
  return select(0.0, x, i < params.query_length && d < params.dim);
}

fn stats_at(b: u32, head: u32, i: u32) -> vec2f {
  // Rows past the last are masked; any finite values do.
  return stats[(b * params.heads + head) * params.query_length + min(i, params.query_length - 1u)];
}

// The weight of a score less the log-sum-exp of its query, which is no more than 0 but for rounding.
fn weight_of(x: vec4f, lane: u32) -> vec4f { return select(exp(min(x, vec4f(0.0))), vec4f(nan(lane)), not_finite(x)); }

fn stage_chunk(b: u32, head: u32, kv_head: u32, i0: u32, j0: u32, d0: u32, lane: u32) {
  let d = d0 + lane % 8u;
  let at = lane % 8u * 8u + lane / 8u;
  let i = i0 + lane / 8u * 4u;
  let j = j0 + lane / 8u * 4u;
  q_chunk[at] = vec4f(q_at(b, head, i, d), q_at(b, head, i + 1u, d), q_at(b, head, i + 2u, d), q_at(b, head, i + 3u, d));
  k_chunk[at] = vec4f(k_at(b, kv_head, j, d), k_at(b, kv_head, j + 1u, d), k_at(b, kv_head, j + 2u, d), k_at(b, kv_head, j + 3u, d));
  dy_chunk[at] = vec4f(dy_at(b, head, i, d), dy_at(b, head, i + 1u, d), dy_at(b, head, i + 2u, d), dy_at(b, head, i + 3u, d));
  v_chunk[at] = vec4f(v_at(b, kv_head, j, d), v_at(b, kv_head, j + 1u, d), v_at(b, kv_head, j + 2u, d), v_at(b, kv_head, j + 3u, d));
}
