// Partial sums of squares of up to seven tensors in one dispatch: workgroup (x, t) takes every groups.x-th stretch of tensor t and
// writes partials[(first + t) · groups.x + x]. Unused bindings hold a tensor again with a count of 0.
struct Params { first: u32, n0: u32, n1: u32, n2: u32, n3: u32, n4: u32, n5: u32, n6: u32 }
@group(0) @binding(0) var<storage, read> t0: array<f32>;
@group(0) @binding(1) var<storage, read> t1: array<f32>;
@group(0) @binding(2) var<storage, read> t2: array<f32>;
@group(0) @binding(3) var<storage, read> t3: array<f32>;
@group(0) @binding(4) var<storage, read> t4: array<f32>;
@group(0) @binding(5) var<storage, read> t5: array<f32>;
@group(0) @binding(6) var<storage, read> t6: array<f32>;
@group(0) @binding(7) var<storage, read_write> partials: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

// #include "../runtime/reduce.wgsl"

fn value(t: u32, i: u32) -> f32 {
  switch t {
    case 0u: { return t0[i]; }
    case 1u: { return t1[i]; }
    case 2u: { return t2[i]; }
    case 3u: { return t3[i]; }
    case 4u: { return t4[i]; }
    case 5u: { return t5[i]; }
    default: { return t6[i]; }
  }
}

fn count(t: u32) -> u32 {
  switch t {
    case 0u: { return params.n0; }
    case 1u: { return params.n1; }
    case 2u: { return params.n2; }
    case 3u: { return params.n3; }
    case 4u: { return params.n4; }
    case 5u: { return params.n5; }
    default: { return params.n6; }
  }
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let t = group.y;
  let n = count(t);
  var sum = 0.0;
  for (var i = group.x * GROUP + lane; i < n; i += groups.x * GROUP) {
    let x = value(t, i);
    sum += x * x;
  }
  let total = reduce_add(sum, lane);
  if (lane == 0u) { partials[(params.first + t) * groups.x + group.x] = total; }
}
