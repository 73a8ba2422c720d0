// dw = Σ over rows of dy · x · rstd: a workgroup takes 16 columns, 16 invocations share each; dy is the sum of $n tensors. See
// ../runtime/webgpu/repeat-lines.ts.
struct Params { rows: u32, dim: u32 }
@group(0) @binding($i) var<storage, read> dy$i: array<f32>; // #each n
@group(0) @binding($n) var<storage, read> x: array<f32>;
@group(0) @binding($n + 1) var<storage, read> rstd: array<f32>;
@group(0) @binding($n + 2) var<storage, read_write> dw: array<f32>;
@group(0) @binding($n + 3) var<uniform> params: Params;

// #include "../runtime/webgpu/columns.wgsl"

fn gradient(at: u32) -> f32 {
  var sum = 0.0;
  sum += dy$i[at]; // #each n
  return sum;
}

@compute @workgroup_size(COLUMNS, LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let column = group.x * COLUMNS + id.x;
  var sum = 0.0;
  if (column < params.dim) {
    for (var row = id.y; row < params.rows; row += LANES) {
      let i = row * params.dim + column;
      sum += gradient(i) * x[i] * rstd[row];
    }
  }
  let total = reduce_columns(vec2f(sum, 0.0), lane);
  if (id.y == 0u && column < params.dim) { dw[column] = total.x; }
}
