// Makes weights of scores, and of the gradients of the weights those of the scores: w · (dw − Σ w · dw) · scale.
@group(0) @binding(0) var<storage, read_write> scores: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> d_weights: array<vec4f>;
@group(0) @binding(2) var<storage, read> lse: array<f32>;
@group(0) @binding(3) var<storage, read> starts: array<i32>;
@group(0) @binding(4) var<uniform> params: Params;

// #include "include/subgroup-software-row.wgsl"

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = (group.x + group.y * groups.x) * 32u + lane;
  if (index >= params.rows) { return; }
  let row = row_of(index);
  let total = lse[row.index];
  var sum = 0.0;
  for (var j = 0u; j < row.end; j += 4u) {
    let x = scores[row.at + j / 4u] - total;
    let w = select(vec4f(), select(exp(min(x, vec4f())), vec4f(nan(lane)), not_finite(x)), seen(row, j));
    sum += dot(w, select(vec4f(), d_weights[row.at + j / 4u], seen(row, j)));
    scores[row.at + j / 4u] = w;
  }
  for (var j = 0u; j < row.end; j += 4u) {
    d_weights[row.at + j / 4u] = select(vec4f(), scores[row.at + j / 4u] * (d_weights[row.at + j / 4u] - sum) * params.scale, seen(row, j));
  }
}
