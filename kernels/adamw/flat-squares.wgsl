// Partial sums of squares of tensors that lie in one: workgroup (x, t) takes every groups.x-th stretch of tensor t and writes
// partials[t · groups.x + x], as squares.wgsl does of tensors apart.
@group(0) @binding(0) var<storage, read> values: array<f32>;
@group(0) @binding(1) var<storage, read> places: array<vec2u>; // first element, count
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;

// #include "../runtime/webgpu/reduce.wgsl"

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let place = places[group.y];
  var sum = 0.0;
  for (var i = group.x * GROUP + lane; i < place.y; i += groups.x * GROUP) {
    let x = values[place.x + i];
    sum += x * x;
  }
  let total = reduce_add(sum, lane);
  if (lane == 0u) { partials[group.y * groups.x + group.x] = total; }
}
