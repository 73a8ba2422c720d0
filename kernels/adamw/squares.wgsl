// Partial sums of squares of $n tensors in one dispatch: workgroup (x, t) takes every groups.x-th stretch of tensor t and writes
// partials[(first + t) · groups.x + x]. See ../runtime/webgpu/repeat-lines.ts.
struct Params { first: u32, u0: u32, u1: u32, u2: u32, counts: array<vec4u, ($n + 3) / 4> }
@group(0) @binding($i) var<storage, read> t$i: array<f32>; // #each n
@group(0) @binding($n) var<storage, read_write> partials: array<f32>;
@group(0) @binding($n + 1) var<uniform> params: Params;

// #include "../runtime/webgpu/reduce.wgsl"

fn value(t: u32, i: u32) -> f32 {
  switch t {
    case $i: { return t$i[i]; } // #each n
    default: { return 0.0; }
  }
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let t = group.y;
  let n = params.counts[t / 4u][t % 4u];
  var sum = 0.0;
  for (var i = group.x * GROUP + lane; i < n; i += groups.x * GROUP) {
    let x = value(t, i);
    sum += x * x;
  }
  let total = reduce_add(sum, lane);
  if (lane == 0u) { partials[(params.first + t) * groups.x + group.x] = total; }
}
