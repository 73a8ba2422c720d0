// Sum over a workgroup of GROUP invocations; every invocation gets the result. Call in uniform control flow only.
const GROUP = 64u;
var<workgroup> reduce_scratch: array<f32, GROUP>;

fn reduce_add(value: f32, lane: u32) -> f32 {
  reduce_scratch[lane] = value;
  workgroupBarrier();
  for (var step = GROUP / 2u; step > 0u; step >>= 1u) {
    if (lane < step) { reduce_scratch[lane] += reduce_scratch[lane + step]; }
    workgroupBarrier();
  }
  let total = reduce_scratch[0];
  workgroupBarrier();
  return total;
}
