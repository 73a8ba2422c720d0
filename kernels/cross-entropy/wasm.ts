// AssemblyScript. Pointers are byte offsets into the tfjs heap; logits are [rows, vocab] and rows [begin, end) are done.
import { expLanes, expScalar, sumLanes } from '../runtime/simd';

/**
 * losses[row] = −log softmax(logits[row])[label]. With `gradient` the row is overwritten by softmax − onehot(label). A label
 * outside [0, vocab) gives a loss of 0 and a row of zeros.
 */
export function softmaxLoss(logits: usize, labels: usize, losses: usize, vocab: i32, gradient: i32, begin: i32, end: i32): void {
  const vector = vocab & ~3;
  for (let row = begin; row < end; row++) {
    const base = logits + (<usize>row * <usize>vocab) * 4;
    const label = load<i32>(labels + ((<usize>row) << 2));
    const counted = label >= 0 && label < vocab;
    if (!counted) {
      store<f32>(losses + ((<usize>row) << 2), 0);
      if (gradient != 0) memory.fill(base, 0, (<usize>vocab) << 2);
      continue;
    }
    const top = maximum(base, vector, vocab);
    const picked = load<f32>(base + ((<usize>label) << 2));
    const topLanes = f32x4.splat(top);
    let acc = f32x4.splat(0);
    for (let i = 0; i < vector; i += 4) {
      const at = base + ((<usize>i) << 2);
      const e = expLanes(f32x4.sub(v128.load(at), topLanes));
      if (gradient != 0) v128.store(at, e);
      acc = f32x4.add(acc, e);
    }
    let sum = sumLanes(acc);
    for (let i = vector; i < vocab; i++) {
      const at = base + ((<usize>i) << 2);
      const e = expScalar(load<f32>(at) - top);
      if (gradient != 0) store<f32>(at, e);
      sum += e;
    }
    store<f32>(losses + ((<usize>row) << 2), logarithm(sum) + (top - picked));
    if (gradient != 0) {
      const scale: f32 = 1 / sum;
      const scaleLanes = f32x4.splat(scale);
      for (let i = 0; i < vector; i += 4) {
        const at = base + ((<usize>i) << 2);
        v128.store(at, f32x4.mul(v128.load(at), scaleLanes));
      }
      for (let i = vector; i < vocab; i++) {
        const at = base + ((<usize>i) << 2);
        store<f32>(at, load<f32>(at) * scale);
      }
      const at = base + ((<usize>label) << 2);
      store<f32>(at, load<f32>(at) - 1);
    }
  }
}

@inline
function maximum(base: usize, vector: i32, vocab: i32): f32 {
  // A NaN is passed over here, and shows in the sum.
  let lanes = f32x4.splat(-f32.MAX_VALUE);
  for (let i = 0; i < vector; i += 4) lanes = f32x4.pmax(lanes, v128.load(base + ((<usize>i) << 2)));
  let top = max(max(f32x4.extract_lane(lanes, 0), f32x4.extract_lane(lanes, 1)), max(f32x4.extract_lane(lanes, 2), f32x4.extract_lane(lanes, 3)));
  for (let i = vector; i < vocab; i++) top = max(top, load<f32>(base + ((<usize>i) << 2)));
  return top;
}

/** ln x for x ≥ 1, from the exponent and a series in the mantissa: AssemblyScript's own needs tables. */
function logarithm(x: f32): f32 {
  const bits = reinterpret<u32>(x);
  const exponent = <i32>(bits >> 23) - 127;
  const mantissa = <f64>reinterpret<f32>((bits & 0x007fffff) | 0x3f800000);
  // ln m = 2·artanh((m − 1)/(m + 1)); the argument is at most 1/3, so eight odd powers leave 1e-9.
  const t = (mantissa - 1) / (mantissa + 1);
  const s = t * t;
  let q: f64 = 1.0 / 17;
  q = q * s + 1.0 / 15;
  q = q * s + 1.0 / 13;
  q = q * s + 1.0 / 11;
  q = q * s + 1.0 / 9;
  q = q * s + 1.0 / 7;
  q = q * s + 1.0 / 5;
  q = q * s + 1.0 / 3;
  q = q * s + 1;
  const value = <f32>(<f64>exponent * 0.6931471805599453 + 2 * t * q);
  // Not a number and infinity keep their meaning.
  return exponent == 128 ? x : value;
}
