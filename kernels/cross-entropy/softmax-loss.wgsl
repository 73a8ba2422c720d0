// One workgroup a row: losses = −log softmax(logits)[label], and where GRADIENT the row becomes softmax − onehot(label).
// A label outside [0, vocab) gives a loss of 0 and a row of zeros. Marks at the ends of lines: see ../runtime/reduce.wgsl.
override GRADIENT: bool = true;
struct Params { rows: u32, vocab: u32 }
@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

const THREADS = 256u;
const LOWEST = -3.4e38;
// (top, Σ exp(x − top)) of what a lane has seen.
var<workgroup> seen: array<vec2f, THREADS>;

// #include "../runtime/webgpu/finite.wgsl"

// e^(x − top), where an x that is NaN or above all others is no number.
fn exponential(x: f32, top: f32, lane: u32) -> f32 {
  return select(exp(x - top), nan(lane), is_nan(x) || bitcast<u32>(x) == 0x7f800000u);
}

fn merge(a: vec2f, b: vec2f) -> vec2f {
  let top = max(a.x, b.x);
  return vec2f(top, a.y * exp(a.x - top) + b.y * exp(b.x - top));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let base = row * params.vocab;
  // A negative label wraps to a large one.
  let label = u32(labels[row]);
  let counted = label < params.vocab;

  var top = LOWEST;
  for (var i = lane; i < params.vocab; i += THREADS) { top = max(top, logits[base + i]); }
  var sum = 0.0;
  for (var i = lane; i < params.vocab; i += THREADS) { sum += exponential(logits[base + i], top, lane); }
  seen[lane] = vec2f(top, sum); // #memory
  workgroupBarrier(); // #memory
  for (var step = THREADS / 2u; step > 0u; step >>= 1u) { // #memory
    if (lane < step) { seen[lane] = merge(seen[lane], seen[lane + step]); } // #memory
    workgroupBarrier(); // #memory
  } // #memory
  let all = seen[0]; // #memory
  let size = subgroupAdd(1u); // #subgroups
  let peak = subgroupMax(top); // #subgroups
  let part = subgroupAdd(sum * exp(top - peak)); // #subgroups
  if (lane % size == 0u) { seen[lane / size] = vec2f(peak, part); } // #subgroups
  workgroupBarrier(); // #subgroups
  var all = seen[0]; // #subgroups
  for (var i = 1u; i < THREADS / size; i++) { all = merge(all, seen[i]); } // #subgroups
  if (lane == 0u) {
    var loss = 0.0;
    if (counted) { loss = select(log(all.y), all.y, is_nan(all.y)) + (all.x - logits[base + label]); }
    losses[row] = loss;
  }
  if (GRADIENT) {
    // The label's logit is read above before any lane overwrites it.
    storageBarrier();
    let scale = select(0.0, 1.0 / all.y, counted);
    for (var i = lane; i < params.vocab; i += THREADS) {
      logits[base + i] = exp(logits[base + i] - all.x) * scale - select(0.0, 1.0, counted && i == label);
    }
  }
}
