// dtable[v] += Σ over i with ids[i] = v of dy[i], one workgroup an id. The workgroup of an id's first occurrence adds all of its
// rows, in order: no two write one row, and the sum is the same on every run, which atomic adds would not give.
struct Params { count: u32, dim: u32, vocab: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read_write> dtable: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

// #include "../runtime/webgpu/reduce.wgsl"

var<workgroup> earlier: u32;
var<workgroup> matches: array<u32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = group.x + group.y * groups.x;
  if (first >= params.count) { return; }
  let id = ids[first];
  var found = 0.0;
  for (var j = lane; j < first; j += GROUP) { if (ids[j] == id) { found = 1.0; } }
  let before = reduce_add(found, lane);
  // A negative id wraps to a large one.
  if (lane == 0u) { earlier = u32(before > 0.0 || u32(id) >= params.vocab); }
  if (workgroupUniformLoad(&earlier) != 0u) { return; }
  let base = u32(id) * params.dim;
  for (var block = first; block < params.count; block += GROUP) {
    let j = block + lane;
    var same = 0u;
    if (j < params.count) { same = u32(ids[j] == id); }
    matches[lane] = same;
    workgroupBarrier();
    for (var k = 0u; k < GROUP; k++) {
      if (matches[k] == 0u) { continue; }
      let source = (block + k) * params.dim;
      for (var c = lane; c < params.dim; c += GROUP) { dtable[base + c] += dy[source + c]; }
    }
    workgroupBarrier();
  }
}
