// Sum over a workgroup of GROUP invocations; every invocation gets the result. Call in uniform control flow only. Lines with a mark at their
// end belong to one of the variants (see variant.ts); with subgroups, lanes are taken to lie in them in order, as they do in workgroups of
// one dimension.
const GROUP = 64u;
var<workgroup> reduce_scratch: array<f32, GROUP>;

fn reduce_add(value: f32, lane: u32) -> f32 {
  reduce_scratch[lane] = value; // #memory
  workgroupBarrier(); // #memory
  for (var step = GROUP / 2u; step > 0u; step >>= 1u) { // #memory
    if (lane < step) { reduce_scratch[lane] += reduce_scratch[lane + step]; } // #memory
    workgroupBarrier(); // #memory
  } // #memory
  let total = reduce_scratch[0]; // #memory
  let size = subgroupAdd(1u); // #subgroups
  let part = subgroupAdd(value); // #subgroups
  if (lane % size == 0u) { reduce_scratch[lane / size] = part; } // #subgroups
  workgroupBarrier(); // #subgroups
  var total = 0.0; // #subgroups
  for (var i = 0u; i < GROUP / size; i++) { total += reduce_scratch[i]; } // #subgroups
  workgroupBarrier();
  return total;
}
