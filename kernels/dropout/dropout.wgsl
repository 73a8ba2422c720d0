// y = x · mask, one element an invocation; the mask is that of hash.ts.
struct Params { count: u32, first: u32, second: u32, start: u32, threshold: u32, kept: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

fn mix32(value: u32) -> u32 {
  var h = (value ^ (value >> 16u)) * 0x7feb352du;
  h = (h ^ (h >> 15u)) * 0x846ca68bu;
  return h ^ (h >> 16u);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * 256u + lane;
  if (i >= params.count) { return; }
  let bits = mix32(mix32((params.start + i) ^ params.first) + params.second);
  y[i] = x[i] * select(params.kept, 0.0, bits < params.threshold);
}
