// What matrix-subgroup.wgsl does, by every invocation for itself: slow, and the same on every device.
alias Left = array<f32, UNIT_M * UNIT_K>;
alias Right = array<f32, UNIT_K * UNIT_N>;
alias Sums = array<f32, UNIT_M * UNIT_N>;

fn load_left(at: u32) -> Left {
  var left: Left;
  for (var i = 0u; i < UNIT_M * UNIT_K; i++) {
    let k = i % UNIT_K;
    left[i] = number_of(stage_a[at + i / UNIT_K * A_STRIDE + k / PER], k % PER);
  }
  return left;
}

fn load_right(at: u32) -> Right {
  var right: Right;
  for (var i = 0u; i < UNIT_K * UNIT_N; i++) {
    let k = i / UNIT_N;
    let n = i % UNIT_N;
    if (ALONG_K) {
      right[i] = number_of(stage_b[at + n * B_STRIDE + k / PER], k % PER);
    } else {
      right[i] = number_of(stage_b[at + k * B_STRIDE + n / PER], n % PER);
    }
  }
  return right;
}

fn multiply(left: Left, right: Right, sums: Sums) -> Sums {
  var l = left;
  var r = right;
  var out = sums;
  for (var i = 0u; i < UNIT_M * UNIT_N; i++) {
    for (var k = 0u; k < UNIT_K; k++) { out[i] += l[i / UNIT_N * UNIT_K + k] * r[k * UNIT_N + i % UNIT_N]; }
  }
  return out;
}

fn put(at: u32, sums: Sums, lane: u32) {
  var values = sums;
  if (lane % LANES != 0u) { return; }
  for (var i = 0u; i < UNIT_M * UNIT_N / 4u; i++) { results[at + i] = vec4f(values[4u * i], values[4u * i + 1u], values[4u * i + 2u], values[4u * i + 3u]); }
}
