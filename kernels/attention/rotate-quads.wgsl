// As rotate.wgsl, where half the turned dimensions, all of them and the head's are multiples of four: one invocation turns four pairs of q or k,
// or copies four dimensions that are not turned.
struct Params { query_length: u32, key_length: u32, heads: u32, kv_heads: u32, has_starts: u32, dim: u32, half: u32, max_position: u32, queries: u32, keys: u32, sign: f32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> cosines: array<vec4f>;
@group(0) @binding(3) var<storage, read> sines: array<vec4f>;
@group(0) @binding(4) var<storage, read> starts: array<i32>;
@group(0) @binding(5) var<storage, read_write> q_out: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> k_out: array<vec4f>;
@group(0) @binding(7) var<uniform> params: Params;

// A pair of quads, or a quad that is copied.
struct Place { first: u32, second: u32, table: u32, turned: bool }

// Item `item` of those of q or k: `at` is the index of the first token's position among the keys of its row.
fn place(item: u32, heads: u32, length: u32, at: u32) -> Place {
  let pairs = params.half / 4u;
  let each = params.dim / 4u - pairs;
  let head = item / each;
  let i = item % each;
  let token = head / heads;
  let b = token / length;
  let p = at + token % length;
  var position = i32(p);
  if (params.has_starts != 0u) { position -= starts[b * params.key_length + p]; }
  let row = u32(clamp(position, 0, i32(params.max_position) - 1));
  let first = head * (params.dim / 4u) + i;
  // What is not turned lies behind both halves.
  if (i >= pairs) { return Place(first + pairs, first + pairs, 0u, false); }
  return Place(first, first + pairs, row * pairs + i, true);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let item = (group.x + group.y * groups.x) * 64u + lane;
  if (item < params.queries) {
    let at = place(item, params.heads, params.query_length, params.key_length - params.query_length);
    let x = q[at.first];
    if (!at.turned) { q_out[at.first] = x; return; }
    let y = q[at.second];
    let c = cosines[at.table];
    let s = params.sign * sines[at.table];
    q_out[at.first] = x * c - y * s;
    q_out[at.second] = y * c + x * s;
    return;
  }
  if (item >= params.queries + params.keys) { return; }
  let at = place(item - params.queries, params.kv_heads, params.key_length, 0u);
  let x = k[at.first];
  if (!at.turned) { k_out[at.first] = x; return; }
  let y = k[at.second];
  let c = cosines[at.table];
  let s = params.sign * sines[at.table];
  k_out[at.first] = x * c - y * s;
  k_out[at.second] = y * c + x * s;
}
