// Sums over the workgroup: within subgroups first. Lanes are taken to lie in subgroups in order, as they do wherever workgroups
// have one dimension; THREADS is a multiple of the subgroup size, or below it.
var<workgroup> partial: array<f32, SUMS * THREADS>;

fn contribute(sum: u32, value: f32, lane: u32) {
  let whole = subgroupAdd(value);
  let size = subgroupAdd(1u);
  if (lane % size == 0u) { partial[sum * THREADS + lane / size] = whole; }
}

// The sum of index lane % SUMS. To be called in uniform control flow, after a barrier.
fn total(lane: u32) -> f32 {
  let groups = THREADS / subgroupAdd(1u);
  var value = 0.0;
  for (var i = 0u; i < groups; i++) { value += partial[(lane % SUMS) * THREADS + i]; }
  return value;
}
