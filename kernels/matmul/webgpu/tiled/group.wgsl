// Several products in one dispatch, a workgroup a tile of one of them:
//   C_j(m, n) = Σ_s scale_s · Σ_k A_s(m, k)·B_s(k, n) + bias_j(n), s over the segments of job j, [+ what C_j holds]
// SLICES parts of a workgroup take turns at the steps along k and are summed up at the end: for products with few tiles and long sums. Put
// together in job-text.ts, which repeats the lines with a mark at their end (see ../runtime/webgpu/repeat-lines.ts), from this file, a stage.wgsl a
// segment, the readers of its operands and a store-output-*.wgsl an output. NOTHING is 0; where no GPU stands behind the device it is a zero that the
// compiler cannot know, so that it does not unroll loops: compilers there take a second for every dozen of loads in the text.
// #include "../include/group.wgsl"

const A_QUADS = TILE_M / 4u;
const B_QUADS = TILE_N / 4u;
const K_QUADS = TILE_K / 4u;
const A_BLOCKS = A_QUADS * K_QUADS;
const B_BLOCKS = B_QUADS * K_QUADS;
// A quad more than a row has: blocks of four rows start in different banks.
const A_STRIDE = A_QUADS + 1u;
const B_STRIDE = B_QUADS + 1u;
// Invocations beside each other: the quads of one of them lie this far from each other, those of neighbours side by side.
const ACROSS = B_QUADS / $columns;
// Invocations of a slice.
const SLICE = (TILE_M / ROWS) * ACROSS;
const THREADS = SLICES * SLICE;

// [slice][k][quad of m], [slice][k][quad of n]
var<workgroup> stage_a: array<Staged, SLICES * TILE_K * A_STRIDE>;
var<workgroup> stage_b: array<Staged, SLICES * TILE_K * B_STRIDE>;

// (quad, k quad) of block `index`, neighbouring indices along the contiguous axis.
fn place(index: u32, quads: u32, along_k: bool) -> vec2u {
  if (along_k) { return vec2u(index / K_QUADS, index % K_QUADS); }
  return vec2u(index % quads, index / quads);
}

fn stage(segment: u32, m0: u32, n0: u32, k0: u32, slice: u32, lane: u32) {
  switch segment {
    case $i: { stage_$i(m0, n0, k0, slice, lane); } // #each segments
    default: {}
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  // #prepare
  let id = group.x + group.y * groups.x;
  var j = 0u;
  while (j + 1u < $jobs && id >= params.jobs[j + 1u].first_group) { j++; }
  let job = params.jobs[j];
  let m0 = (id - job.first_group) / job.groups_n * TILE_M;
  let n0 = (id - job.first_group) % job.groups_n * TILE_N;
  if (m0 >= job.m) { return; }
  let slice = lane / SLICE;
  let column = lane % SLICE % ACROSS;
  let row = lane % SLICE / ACROSS;
  let first_a = slice * TILE_K * A_STRIDE + row * (ROWS / 4u);
  let first_b = slice * TILE_K * B_STRIDE + column;
  // ROWS of the first quad, then those of the next.
  var sums: array<vec4f, ROWS * $columns>;
  for (var s = job.first_segment; s < job.end_segment; s++) {
    let length = params.segments[s].k;
    for (var k0 = 0u; k0 < length; k0 += SLICES * TILE_K) {
      let begin = k0 + slice * TILE_K;
      stage(s, m0, n0, begin, slice, lane % SLICE);
      let depth = min(TILE_K, max(begin, length) - begin);
      workgroupBarrier();
      for (var k = 0u; k < depth; k++) {
        let b_$i = vec4f(stage_b[first_b + k * B_STRIDE + $iu * ACROSS]); // #each columns
        for (var quad = 0u; quad < ROWS / 4u; quad++) {
          let a = vec4f(stage_a[first_a + k * A_STRIDE + quad]);
          sums[$iu * ROWS + 4u * quad] += a.x * b_$i; // #each columns
          sums[$iu * ROWS + 4u * quad + 1u] += a.y * b_$i; // #each columns
          sums[$iu * ROWS + 4u * quad + 2u] += a.z * b_$i; // #each columns
          sums[$iu * ROWS + 4u * quad + 3u] += a.w * b_$i; // #each columns
        }
      }
      workgroupBarrier();
    }
  }
  if (SLICES > 1u) {
    // The sums take the place of A: a slice has TILE_M · TILE_N / 4 of them and TILE_K · TILE_M / 4 quads of A, as TILE_K = TILE_N.
    for (var i = 0u; i < ROWS + NOTHING; i++) { stage_a[lane * ROWS + i] = Staged(sums[i]); }
    workgroupBarrier();
    for (var i = lane; i < SLICE * ROWS; i += THREADS) {
      var sum = vec4f();
      for (var t = 0u; t < SLICES; t++) { sum += vec4f(stage_a[t * SLICE * ROWS + i]); }
      let n = n0 + 4u * (i / ROWS % B_QUADS);
      store(j, m0 + i / ROWS / B_QUADS * ROWS + i % ROWS, n, sum + bias_of(j, n, job.n));
    }
    return;
  }
  let n = n0 + 4u * column;
  var added: array<vec4f, $columns>;
  added[$i] = bias_of(j, n + $iu * 4u * ACROSS, job.n); // #each columns
  // By constant indices, or a compiler that does not unroll this loop would keep the sums in memory; a software device's would take long.
  store(j, m0 + row * ROWS + $iu % ROWS, n + $iu / ROWS * 4u * ACROSS, sums[$i] + added[$iu / ROWS]); // #each stores
  for (var i = 0u; i < ROWS + NOTHING; i++) { store(j, m0 + row * ROWS + i, n + $iu * 4u * ACROSS, sums[$iu * ROWS + i] + added[$i]); } // #each loops
}
