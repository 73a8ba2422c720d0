// s += t for $n pairs of tensors, one element an invocation; group.z is the pair. See ../runtime/webgpu/repeat-lines.ts.
struct Params { counts: array<vec4u, ($n + 3) / 4> }
@group(0) @binding(2 * $i) var<storage, read_write> s$i: array<f32>; // #each n
@group(0) @binding(2 * $i + 1) var<storage, read> t$i: array<f32>; // #each n
@group(0) @binding(2 * $n) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * 256u + lane;
  if (i >= params.counts[group.z / 4u][group.z % 4u]) { return; }
  switch group.z {
    case $i: { s$i[i] += t$i[i]; } // #each n
    default: {}
  }
}
