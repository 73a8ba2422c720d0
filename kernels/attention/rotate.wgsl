// One invocation an element of q and then of k: the first 2·half dimensions of each head turn by the angles of the token's position.
struct Params { query_length: u32, key_length: u32, heads: u32, kv_heads: u32, has_starts: u32, dim: u32, half: u32, max_position: u32, queries: u32, keys: u32, sign: f32 }
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> cosines: array<f32>;
@group(0) @binding(3) var<storage, read> sines: array<f32>;
@group(0) @binding(4) var<storage, read> starts: array<i32>;
@group(0) @binding(5) var<storage, read_write> q_out: array<f32>;
@group(0) @binding(6) var<storage, read_write> k_out: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

// Cosine and signed sine of pair d of the token with index p in row b.
fn angle(b: u32, p: u32, d: u32) -> vec2f {
  var position = i32(p);
  if (params.has_starts != 0u) { position -= starts[b * params.key_length + p]; }
  let at = u32(clamp(position, 0, i32(params.max_position) - 1)) * params.half + d;
  return vec2f(cosines[at], params.sign * sines[at]);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let item = (group.x + group.y * groups.x) * 256u + lane;
  if (item < params.queries) {
    let d = item % params.dim;
    let token = item / params.dim / params.heads;
    if (d >= 2u * params.half) { q_out[item] = q[item]; return; }
    let a = angle(token / params.query_length, params.key_length - params.query_length + token % params.query_length, d % params.half);
    let other = select(q[item - min(params.half, item)], -q[min(item + params.half, params.queries - 1u)], d < params.half);
    q_out[item] = q[item] * a.x + other * a.y;
    return;
  }
  let i = item - params.queries;
  if (i >= params.keys) { return; }
  let d = i % params.dim;
  let token = i / params.dim / params.kv_heads;
  if (d >= 2u * params.half) { k_out[i] = k[i]; return; }
  let a = angle(token / params.key_length, token % params.key_length, d % params.half);
  let other = select(k[i - min(params.half, i)], -k[min(i + params.half, params.keys - 1u)], d < params.half);
  k_out[i] = k[i] * a.x + other * a.y;
}
