// One workgroup a row: dx = rstd · (dy·w − x · rstd² · mean(dy·w·x)), + added where there is one; dy is the sum of $n tensors. See
// ../runtime/webgpu/repeat-lines.ts.
struct Params { rows: u32, dim: u32 }
@group(0) @binding($i) var<storage, read> dy$i: array<f32>; // #each n
@group(0) @binding($n) var<storage, read> x: array<f32>;
@group(0) @binding($n + 1) var<storage, read> w: array<f32>;
@group(0) @binding($n + 2) var<storage, read> rstd: array<f32>;
@group(0) @binding($n + 3) var<storage, read> added: array<f32>; // #each a
@group(0) @binding($n + $a + 3) var<storage, read_write> dx: array<f32>;
@group(0) @binding($n + $a + 4) var<uniform> params: Params;

// #include "../runtime/webgpu/reduce.wgsl"

fn gradient(at: u32) -> f32 {
  var sum = 0.0;
  sum += dy$i[at]; // #each n
  return sum;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let base = row * params.dim;
  var sum = 0.0;
  for (var i = lane; i < params.dim; i += GROUP) { sum += gradient(base + i) * w[i] * x[base + i]; }
  let r = rstd[row];
  let k = reduce_add(sum, lane) * r * r / f32(params.dim);
  for (var i = lane; i < params.dim; i += GROUP) {
    var value = r * (gradient(base + i) * w[i] - x[base + i] * k);
    value += added[base + i]; // #each a
    dx[base + i] = value;
  }
}
