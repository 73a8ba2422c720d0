// Brings a tile of each operand of segment INDEX to workgroup memory: 4x4 blocks, whose column i holds four neighbours in m (or n) at k + i.
fn block_a_INDEX(m: u32, k: u32) -> mat4x4f {
  let size = select(vec2u(params.segments[INDEX].k, params.segments[INDEX].m), vec2u(params.segments[INDEX].m, params.segments[INDEX].k), A_ALONG_K);
  let at = select(vec2u(k, m), vec2u(m, k), A_ALONG_K);
  var block: mat4x4f;
  for (var i = 0u; i < 4u + NOTHING; i++) { block[i] = read_a_INDEX(at.x + i, at.y, size); }
  if (A_ALONG_K) { return transpose(block); }
  return block;
}

fn block_b_INDEX(n: u32, k: u32) -> mat4x4f {
  let size = select(vec2u(params.segments[INDEX].k, params.segments[INDEX].n), vec2u(params.segments[INDEX].n, params.segments[INDEX].k), B_ALONG_K);
  let at = select(vec2u(k, n), vec2u(n, k), B_ALONG_K);
  var block: mat4x4f;
  for (var i = 0u; i < 4u + NOTHING; i++) { block[i] = read_b_INDEX(at.x + i, at.y, size); }
  if (B_ALONG_K) { return transpose(block); }
  return block;
}

fn stage_INDEX(m0: u32, n0: u32, k0: u32, slice: u32, lane: u32) {
  for (var index = lane; index < A_BLOCKS + B_BLOCKS; index += SLICE) {
    if (index < A_BLOCKS) {
      let at = place(index, A_QUADS, A_ALONG_K);
      let block = params.segments[INDEX].scale * block_a_INDEX(m0 + 4u * at.x, k0 + 4u * at.y);
      let first = (slice * TILE_K + 4u * at.y) * A_STRIDE + at.x;
      for (var i = 0u; i < 4u + NOTHING; i++) { stage_a[first + i * A_STRIDE] = Staged(block[i]); }
    } else {
      let at = place(index - A_BLOCKS, B_QUADS, B_ALONG_K);
      let block = block_b_INDEX(n0 + 4u * at.x, k0 + 4u * at.y);
      let first = (slice * TILE_K + 4u * at.y) * B_STRIDE + at.x;
      for (var i = 0u; i < 4u + NOTHING; i++) { stage_b[first + i * B_STRIDE] = Staged(block[i]); }
    }
  }
}
