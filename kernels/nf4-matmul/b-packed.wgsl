// B as a 4-bit weight, decoded on its way into the tile: [n, k] where B_ALONG_K, else [k, n].
@group(0) @binding(2) var<storage, read> packed: array<u32>;
@group(0) @binding(3) var<storage, read> tables: array<f32>;
@group(0) @binding(4) var<storage, read> scales: array<u32>;
// True where the contiguous axis and BLOCK_SIZE are multiples of 4.
override ALIGNED: bool = false;

// #include "../nf4-dequantize/decode.wgsl"

fn prepare(lane: u32) { load_code_values(lane); }

// Four neighbours of a row (column is a multiple of 4), zeros outside of the matrix.
fn read_b(row: u32, column: u32) -> vec4f {
  let size = select(vec2u(params.k, params.n), vec2u(params.n, params.k), B_ALONG_K);
  if (row >= size.x || column >= size.y) { return vec4f(); }
  let index = row * size.y + column;
  if (ALIGNED) { return decode_four(index); }
  return decode_some(index, size.y - column);
}

// Eight neighbours of a row, whose codes are one element of `packed` where a row's length and BLOCK_SIZE are multiples of 8.
fn read_eight(row: u32, column: u32, size: vec2u) -> mat2x4f {
  if (!ALIGNED || BLOCK_SIZE % 8u != 0u || size.y % 8u != 0u) { return mat2x4f(read_b(row, column), read_b(row, column + 4u)); }
  if (row >= size.x || column >= size.y) { return mat2x4f(); }
  return decode_eight(row * size.y + column);
}
