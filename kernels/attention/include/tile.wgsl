// Shared by the tiled kernels. 64 invocations hold a tile of 32 × 32 scores, invocation (ty, tx) the rows 4·ty.. and columns 4·tx..;
// Three constants are put in front of this text: COLUMNS, the eighths of headDim (an invocation accumulates the dimensions tx, tx + 8, …),
// ROWS, the rows of the second product staged at a time, and UNROLLED: whether inner loops end at constants. A GPU wants that, to hold
// the arrays in registers; a software implementation takes a minute to compile it, so there they end at uniforms,
// and COLUMNS is a bound that one program for all head dimensions has.
struct Params { query_length: u32, key_length: u32, heads: u32, kv_heads: u32, dim: u32, window: u32, has_starts: u32, chunk: u32, rows: u32, columns: u32, scale: f32 }
const TILE = 32u;
// Dimensions of a head staged at a time for the scores.
const CHUNK = 8u;
const NONE = -1e30;

// #include "../../runtime/webgpu/finite.wgsl"

fn chunk_end() -> u32 {
  if (UNROLLED) { return CHUNK; }
  return params.chunk;
}

fn rows_end() -> u32 {
  if (UNROLLED) { return ROWS; }
  return params.rows;
}

fn columns_end() -> u32 {
  if (UNROLLED) { return COLUMNS; }
  return params.columns;
}

fn q_at(b: u32, head: u32, i: u32, d: u32) -> f32 {
  let x = q[((b * params.query_length + min(i, params.query_length - 1u)) * params.heads + head) * params.dim + min(d, params.dim - 1u)];
  return select(0.0, x, i < params.query_length && d < params.dim);
}

fn k_at(b: u32, kv_head: u32, j: u32, d: u32) -> f32 {
  let x = k[((b * params.key_length + min(j, params.key_length - 1u)) * params.kv_heads + kv_head) * params.dim + min(d, params.dim - 1u)];
  return select(0.0, x, j < params.key_length && d < params.dim);
}

fn v_at(b: u32, kv_head: u32, j: u32, d: u32) -> f32 {
  let x = v[((b * params.key_length + min(j, params.key_length - 1u)) * params.kv_heads + kv_head) * params.dim + min(d, params.dim - 1u)];
  return select(0.0, x, j < params.key_length && d < params.dim);
}

// Four rows times four columns; column c of the matrix belongs to column c of the tile.
fn outer(x: vec4f, y: vec4f) -> mat4x4f { return mat4x4f(x * y.x, x * y.y, x * y.z, x * y.w); }

// Index of query i among the keys.
fn place(i: u32) -> u32 { return params.key_length - params.query_length + i; }

// First key that query i sees; past every key for rows beyond the last query.
fn lowest_key(b: u32, i: u32) -> u32 {
  let p = place(min(i, params.query_length - 1u));
  var low = p + 1u - min(params.window, p + 1u);
  if (params.has_starts != 0u) { low = max(low, u32(max(starts[b * params.key_length + p], 0))); }
  return select(0xffffffffu, low, i < params.query_length);
}

// First key that any query of the tile at i0 sees. Uniform where b and i0 are.
fn lowest_key_of_tile(b: u32, i0: u32) -> u32 {
  if (params.has_starts == 0u) { return lowest_key(b, i0); }
  var low = 0xffffffffu;
  for (var i = i0; i < i0 + TILE; i++) { low = min(low, lowest_key(b, i)); }
  return low;
}
