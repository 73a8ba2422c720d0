// norm = √(Σ partials), one workgroup.
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> norm: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

// #include "../runtime/webgpu/reduce.wgsl"

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < params.count; i += GROUP) { sum += partials[i]; }
  let total = reduce_add(sum, lane);
  if (lane == 0u) { norm[0] = sqrt(total); }
}
