// AssemblyScript. Pointers are byte offsets into the tfjs heap; logits are [rows, vocab] and rows [begin, end) are
// done.
import { EXP_TABLE, expLanes, expScalar, fillExpTable, sumLanes } from '../runtime/wasm/simd.as';

/** Bytes of scratch that a part of a call wants. */
export function scratchBytes(): i32 {
  return EXP_TABLE;
}

/**
 * losses[row] = −log softmax(logits[row])[label]. With `gradient` the row is overwritten by softmax − onehot(label). A
 * label outside [0, vocab) gives a loss of 0 and a row of zeros.
 */
export function softmaxLoss(
  logits: usize,
  labels: usize,
  losses: usize,
  vocab: i32,
  gradient: i32,
  begin: i32,
  end: i32,
  table: usize,
): void {
  fillExpTable(table);
  // Two vectors a turn: an engine that joins neighbours makes them one.
  const vector = vocab & ~7;
  for (let row = begin; row < end; row++) {
    const base = logits + <usize>row * <usize>vocab * 4;
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
    let sum =
      gradient != 0 ? exponentials(base, vector, topLanes, table) : sumOfExponentials(base, vector, topLanes, table);
    for (let i = vector; i < vocab; i++) {
      const at = base + ((<usize>i) << 2);
      const e = expScalar(load<f32>(at) - top, table);
      if (gradient != 0) store<f32>(at, e);
      sum += e;
    }
    store<f32>(losses + ((<usize>row) << 2), logarithm(sum) + (top - picked));
    if (gradient != 0) {
      const scale: f32 = 1 / sum;
      const scaleLanes = f32x4.splat(scale);
      for (let i = 0; i < vector; i += 8) {
        const at = base + ((<usize>i) << 2);
        const e0 = f32x4.mul(v128.load(at), scaleLanes);
        const e1 = f32x4.mul(v128.load(at, 16), scaleLanes);
        v128.store(at, e0);
        v128.store(at, e1, 16);
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

/** Replaces values by e^(value − top). @returns their sum */
function exponentials(base: usize, count: i32, top: v128, table: usize): f32 {
  let sum0 = f32x4.splat(0);
  let sum1 = f32x4.splat(0);
  const end = base + ((<usize>count) << 2);
  for (let at = base; at < end; at += 32) {
    const e0 = expLanes(f32x4.sub(v128.load(at), top), table);
    const e1 = expLanes(f32x4.sub(v128.load(at, 16), top), table);
    v128.store(at, e0);
    v128.store(at, e1, 16);
    sum0 = f32x4.add(sum0, e0);
    sum1 = f32x4.add(sum1, e1);
  }
  return sumLanes(f32x4.add(sum0, sum1));
}

function sumOfExponentials(base: usize, count: i32, top: v128, table: usize): f32 {
  let sum0 = f32x4.splat(0);
  let sum1 = f32x4.splat(0);
  const end = base + ((<usize>count) << 2);
  for (let at = base; at < end; at += 32) {
    sum0 = f32x4.add(sum0, expLanes(f32x4.sub(v128.load(at), top), table));
    sum1 = f32x4.add(sum1, expLanes(f32x4.sub(v128.load(at, 16), top), table));
  }
  return sumLanes(f32x4.add(sum0, sum1));
}

@inline
function maximum(base: usize, vector: i32, vocab: i32): f32 {
  // A NaN is passed over here, and shows in the sum.
  let lanes = f32x4.splat(-f32.MAX_VALUE);
  let others = lanes;
  for (let i = 0; i < vector; i += 8) {
    const at = base + ((<usize>i) << 2);
    lanes = f32x4.pmax(lanes, v128.load(at));
    others = f32x4.pmax(others, v128.load(at, 16));
  }
  lanes = f32x4.pmax(lanes, others);
  let top = max(
    max(f32x4.extract_lane(lanes, 0), f32x4.extract_lane(lanes, 1)),
    max(f32x4.extract_lane(lanes, 2), f32x4.extract_lane(lanes, 3)),
  );
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
  // NaN, of either sign, and infinity stay what they are.
  return x - x == 0 ? value : x;
}
