// Puts code[16], map[256] and nested_absmax into one buffer.
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read_write> tables: array<f32>;
@group(0) @binding(1) var<storage, read> code: array<f32>;
@group(0) @binding(2) var<storage, read> map: array<f32>;
@group(0) @binding(3) var<storage, read> nested_absmax: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * 64u + lane;
  if (i >= params.count) { return; }
  if (i < 16u) { tables[i] = code[i]; }
  else if (i < 272u) { tables[i] = map[i - 16u]; }
  else { tables[i] = nested_absmax[i - 272u]; }
}
