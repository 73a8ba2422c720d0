// One invocation unpacks one int32: eight values.
struct Params { count: u32, offset: f32, zero: u32, nested: u32, rounding: u32 }
// True where four neighbours share a scale.
override ALIGNED: bool = false;
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> packed: array<u32>;
@group(0) @binding(2) var<storage, read> tables: array<f32>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

// #include "decode.wgsl"

const THREADS = 64u;

fn unpack_four(index: u32) {
  if (index >= params.count) { return; }
  let left = params.count - index;
  var values: vec4f;
  if (ALIGNED) { values = decode_four(index); } else { values = decode_some(index, left); }
  for (var i = 0u; i < min(left, 4u); i++) { out[index + i] = values[i]; }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  load_code_values(lane);
  let word = (group.x + group.y * groups.x) * THREADS + lane;
  unpack_four(8u * word);
  unpack_four(8u * word + 4u);
}
