// Makes weights of scores: softmax over the keys that each query sees, and its log-sum-exp.
@group(0) @binding(0) var<storage, read_write> scores: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> lse: array<f32>;
@group(0) @binding(2) var<storage, read> starts: array<i32>;
@group(0) @binding(3) var<uniform> params: Params;

// #include "include/subgroup-software-row.wgsl"

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = (group.x + group.y * groups.x) * 32u + lane;
  if (index >= params.rows) { return; }
  let row = row_of(index);
  var top = vec4f(NONE);
  var spoilt = vec4<bool>();
  for (var j = row.low / 4u * 4u; j <= row.high; j += 4u) {
    let s = scores[row.at + j / 4u];
    top = max(top, select(vec4f(NONE), s, seen(row, j)));
    spoilt |= seen(row, j) & not_finite(s);
  }
  let peak = max(max(top.x, top.y), max(top.z, top.w));
  var sums = vec4f();
  for (var j = row.low / 4u * 4u; j <= row.high; j += 4u) { sums += select(vec4f(), exp(scores[row.at + j / 4u] - peak), seen(row, j)); }
  // A query that sees no key: everything is 0; one with a score that is not finite: everything is NaN.
  let sum = select(sums.x + sums.y + sums.z + sums.w, nan(lane), any(spoilt));
  lse[row.index] = select(select(0.0, peak + log(sum), sum > 0.0), sum, any(spoilt));
  for (var j = 0u; j < row.end; j += 4u) { scores[row.at + j / 4u] = select(vec4f(), exp(scores[row.at + j / 4u] - peak) / sum, seen(row, j)); }
}
