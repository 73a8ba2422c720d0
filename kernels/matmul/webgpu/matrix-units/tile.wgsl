// Several products in one dispatch, as ../tiled/group.wgsl does them, by the matrices of subgroups: a workgroup computes a TILE_M x TILE_N tile, of which
// each subgroup has ROWS x COLUMNS units of UNIT_M x UNIT_N. A comes packed (pack.wgsl), so that its tiles are copied as they are; B is
// rounded and 4-bit weights are decoded on the way. The next tiles are fetched into registers while the present ones are multiplied.
// Put together in products.ts from this file, subgroup-matrices.wgsl or emulated-matrices.wgsl, a stage.wgsl a segment, the readers of B
// and a store-output-*.wgsl an output. Matrices of subgroups have to lie in variables with names: compilers must not be left to unroll loops over them.
// #include "../include/group.wgsl"

// Rows of tiles in workgroup memory are a vec4u longer than what they hold, so that neighbouring rows start in different banks.
const A_WIDTH = TILE_K / PER;
const A_STRIDE = A_WIDTH + 1u;
const B_WIDTH = select(TILE_N, TILE_K, ALONG_K) / PER;
const B_STRIDE = B_WIDTH + 1u;
const THREADS = SUBGROUPS * LANES;
const A_EACH = TILE_M * A_WIDTH / THREADS;
const B_EACH = TILE_N * TILE_K / PER / THREADS;
const RESULTS = UNIT_M * UNIT_N / 4u;

// [m][k]
var<workgroup> stage_a: array<vec4u, TILE_M * A_STRIDE>;
// [n][k] where ALONG_K, else [k][n]
var<workgroup> stage_b: array<vec4u, select(TILE_K, TILE_N, ALONG_K) * B_STRIDE>;
// A unit of sums a subgroup.
var<workgroup> results: array<vec4f, SUBGROUPS * RESULTS>;

fn fetch_a(segment: u32, m0: u32, k0: u32, lane: u32) -> array<vec4u, A_EACH> {
  let view = params.segments[segment].a;
  let start = m0 * view.y + view.x + k0 / PER;
  var units: array<vec4u, A_EACH>;
  units[$i] = PACKED[start + (lane + $iu * THREADS) / A_WIDTH * view.y + (lane + $iu * THREADS) % A_WIDTH]; // #each a_units
  return units;
}

fn fetch_b(segment: u32, n0: u32, k0: u32, lane: u32) -> array<vec4u, B_EACH> {
  switch segment {
    case $i: { return fetch_b_$i(n0, k0, lane); } // #each segments
    default: { return array<vec4u, B_EACH>(); }
  }
}

fn stage_units(a: array<vec4u, A_EACH>, b: array<vec4u, B_EACH>, lane: u32) {
  stage_a[(lane + $iu * THREADS) / A_WIDTH * A_STRIDE + (lane + $iu * THREADS) % A_WIDTH] = a[$i]; // #each a_units
  stage_b[(lane + $iu * THREADS) / B_WIDTH * B_STRIDE + (lane + $iu * THREADS) % B_WIDTH] = b[$i]; // #each b_units
}

// Writes the units that lie in `results`, unit (row, column) of every subgroup, to where they belong.
fn keep(job: u32, m0: u32, n0: u32, row: u32, column: u32, lane: u32) {
  let subgroup = lane / LANES;
  let first = vec2u(m0 + (subgroup / ACROSS * ROWS + row) * UNIT_M, n0 + (subgroup % ACROSS * COLUMNS + column) * UNIT_N);
  for (var i = lane % LANES; i < RESULTS + NOTHING; i += LANES) {
    let m = first.x + i / (UNIT_N / 4u);
    let n = first.y + 4u * (i % (UNIT_N / 4u));
    store(job, m, n, UNSCALE[m] * results[subgroup * RESULTS + i] + bias_of(job, n, params.jobs[job].n));
  }
}

@compute @workgroup_size(THREADS) // #size
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32, /* #subgroup */) {
  // #prepare
  let id = group.x + group.y * groups.x;
  var j = 0u;
  while (j + 1u < $jobs && id >= params.jobs[j + 1u].first_group) { j++; }
  let job = params.jobs[j];
  let m0 = (id - job.first_group) / job.groups_n * TILE_M;
  let n0 = (id - job.first_group) % job.groups_n * TILE_N;
  if (m0 >= job.m) { return; }
  // Where this subgroup's units begin in the tiles.
  let at_a = subgroup / ACROSS * ROWS * UNIT_M * A_STRIDE;
  let at_b = subgroup % ACROSS * COLUMNS * select(UNIT_N / PER, UNIT_N * B_STRIDE, ALONG_K);
  // #sums
  var s = job.first_segment;
  var k0 = 0u;
  var a = fetch_a(s, m0, k0, lane);
  var b = fetch_b(s, n0, k0, lane);
  loop {
    stage_units(a, b, lane);
    workgroupBarrier();
    k0 += TILE_K;
    if (k0 >= params.segments[s].k) {
      s++;
      k0 = 0u;
    }
    if (s < job.end_segment) {
      a = fetch_a(s, m0, k0, lane);
      b = fetch_b(s, n0, k0, lane);
    }
    // #products
    workgroupBarrier();
    if (s >= job.end_segment) { break; }
  }
  // #results
}
