// y[i] = table[ids[i]], one element an invocation; zeros where the id is outside the table. Where that is a part of one, which begins at the
// id `first`, all but the first part leave what is not theirs.
struct Params { count: u32, dim: u32, vocab: u32, first: u32 }
@group(0) @binding(0) var<storage, read> table: array<f32>;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * 256u + lane;
  if (i >= params.count * params.dim) { return; }
  // A negative id wraps to a large one.
  let id = u32(ids[i / params.dim]) - params.first;
  if (id < params.vocab) { y[i] = table[id * params.dim + i % params.dim]; } else if (params.first == 0u) { y[i] = 0.0; }
}
