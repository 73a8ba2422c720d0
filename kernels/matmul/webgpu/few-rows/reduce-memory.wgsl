// Sums over the workgroup through workgroup memory. One more than THREADS a sum: neighbouring sums start in different banks.
var<workgroup> partial: array<f32, SUMS * (THREADS + 1u)>;

fn contribute(sum: u32, value: f32, lane: u32) { partial[sum * (THREADS + 1u) + lane] = value; }

// The sum of index lane % SUMS; whole on the lanes below SUMS. To be called in uniform control flow, after a barrier.
fn total(lane: u32) -> f32 {
  let first = (lane % SUMS) * (THREADS + 1u);
  let part = lane / SUMS;
  var value = 0.0;
  for (var i = 0u; i < SUMS; i++) { value += partial[first + part * SUMS + i]; }
  workgroupBarrier();
  partial[first + part] = value;
  workgroupBarrier();
  value = 0.0;
  for (var i = 0u; i < THREADS / SUMS; i++) { value += partial[first + i]; }
  return value;
}
