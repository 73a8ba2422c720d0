// What subgroup-matrices.wgsl does, without matrices of subgroups, on every device: a factor is where it lies in workgroup memory, and each
// invocation of a subgroup has its part of the sums. NOTHING keeps loops from being unrolled.
alias Left = u32;
alias Right = u32;
alias Sums = u32;

const UNIT_SUMS = (UNIT_M * UNIT_N + LANES - 1u) / LANES;
var<private> all_sums: array<f32, ROWS * COLUMNS * UNIT_SUMS>;
var<private> own_lane: u32;

fn no_sums(unit: u32) -> Sums { return unit * UNIT_SUMS; }

fn load_left(at: u32) -> Left { return at; }

fn load_right(at: u32) -> Right { return at; }

fn left_number(at: u32, m: u32, k: u32) -> f32 { return number_of(stage_a[at + m * A_STRIDE + k / PER], k % PER); }

fn right_number(at: u32, k: u32, n: u32) -> f32 {
  let place = select(vec2u(k, n), vec2u(n, k), ALONG_K);
  return number_of(stage_b[at + place.x * B_STRIDE + place.y / PER], place.y % PER);
}

fn multiply(left: Left, right: Right, sums: Sums) -> Sums {
  for (var i = own_lane; i < UNIT_M * UNIT_N + NOTHING; i += LANES) {
    for (var k = 0u; k < UNIT_K + NOTHING; k++) { all_sums[sums + i / LANES] += left_number(left, i / UNIT_N, k) * right_number(right, k, i % UNIT_N); }
  }
  return sums;
}

fn put(at: u32, sums: Sums) {
  for (var i = own_lane; i < UNIT_M * UNIT_N + NOTHING; i += LANES) { results[at + i / 4u][i % 4u] = all_sums[sums + i / LANES]; }
}
