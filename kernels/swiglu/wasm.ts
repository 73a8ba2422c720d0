// AssemblyScript. Pointers are byte offsets into the tfjs heap; [begin, end) is a range of elements.
import { expLanes } from '../runtime/simd';

const SILU: i32 = 0;
const GELU: i32 = 1;
const RELU: i32 = 3;

@inline
function all(value: f32): v128 {
  return f32x4.splat(value);
}

/** σ(x). */
@inline
function sigmoid(x: v128): v128 {
  return f32x4.div(all(1), f32x4.add(all(1), expLanes(f32x4.neg(x))));
}

/**
 * Φ(x) given e = exp(−x²/2): erf by Abramowitz & Stegun 7.1.26, absolute error below 1.5e-7.
 */
@inline
function normalCdf(x: v128, e: v128): v128 {
  const t = f32x4.div(all(1), f32x4.add(all(1), f32x4.mul(all(0.3275911 * 0.70710678), f32x4.abs(x))));
  let q = f32x4.add(all(-1.453152027), f32x4.mul(t, all(1.061405429)));
  q = f32x4.add(all(1.421413741), f32x4.mul(t, q));
  q = f32x4.add(all(-0.284496736), f32x4.mul(t, q));
  q = f32x4.add(all(0.254829592), f32x4.mul(t, q));
  // The upper tail of |x|; Φ is it below zero and 1 minus it above.
  const tail = f32x4.mul(all(0.5), f32x4.mul(f32x4.mul(q, t), e));
  return v128.bitselect(tail, f32x4.sub(all(1), tail), f32x4.lt(x, all(0)));
}

/** exp(−x²/2). */
@inline
function bell(x: v128): v128 {
  return expLanes(f32x4.mul(f32x4.mul(x, x), all(-0.5)));
}

/** ½(1 + tanh(√(2/π)·(x + 0.044715·x³))) = σ(2·√(2/π)·(x + 0.044715·x³)). */
@inline
function tanhCdf(x: v128): v128 {
  return sigmoid(f32x4.mul(f32x4.mul(x, all(1.5957691216)), f32x4.add(all(1), f32x4.mul(all(0.044715), f32x4.mul(x, x)))));
}

@inline
function factor(x: v128, activation: i32): v128 {
  if (activation == SILU) return sigmoid(x);
  if (activation == GELU) return normalCdf(x, bell(x));
  if (activation == RELU) return v128.and(f32x4.gt(x, all(0)), all(1));
  return tanhCdf(x);
}

/** act'(x), where act(x) = x · s. */
@inline
function slope(x: v128, s: v128, activation: i32): v128 {
  if (activation == SILU) return f32x4.mul(s, f32x4.add(all(1), f32x4.mul(x, f32x4.sub(all(1), s))));
  if (activation == GELU) return f32x4.add(s, f32x4.mul(x, f32x4.mul(all(0.39894228), bell(x))));
  if (activation == RELU) return s;
  const inner = f32x4.mul(all(1.5957691216), f32x4.add(all(1), f32x4.mul(all(0.134145), f32x4.mul(x, x))));
  return f32x4.add(s, f32x4.mul(f32x4.mul(x, inner), f32x4.mul(s, f32x4.sub(all(1), s))));
}

/** y = act(gate) · up. */
export function forward(gate: usize, up: usize, y: usize, activation: i32, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const at = (<usize>i) << 2;
    const x = v128.load(gate + at);
    v128.store(y + at, f32x4.mul(f32x4.mul(x, factor(x, activation)), v128.load(up + at)));
  }
  for (; i < end; i++) {
    const at = (<usize>i) << 2;
    const x = v128.load32_splat(gate + at);
    store<f32>(y + at, f32x4.extract_lane(f32x4.mul(x, factor(x, activation)), 0) * load<f32>(up + at));
  }
}

/** dgate = dy · up · act'(gate); dup = dy · act(gate). */
export function backward(dy: usize, gate: usize, up: usize, dgate: usize, dup: usize, activation: i32, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const at = (<usize>i) << 2;
    const x = v128.load(gate + at);
    const d = v128.load(dy + at);
    const s = factor(x, activation);
    v128.store(dgate + at, f32x4.mul(f32x4.mul(d, v128.load(up + at)), slope(x, s, activation)));
    v128.store(dup + at, f32x4.mul(d, f32x4.mul(x, s)));
  }
  for (; i < end; i++) {
    const at = (<usize>i) << 2;
    const x = v128.load32_splat(gate + at);
    const d = load<f32>(dy + at);
    const s = factor(x, activation);
    store<f32>(dgate + at, d * load<f32>(up + at) * f32x4.extract_lane(slope(x, s, activation), 0));
    store<f32>(dup + at, d * f32x4.extract_lane(f32x4.mul(x, s), 0));
  }
}

/** y = act(x). */
export function activate(x: usize, y: usize, activation: i32, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const at = (<usize>i) << 2;
    const v = v128.load(x + at);
    v128.store(y + at, f32x4.mul(v, factor(v, activation)));
  }
  for (; i < end; i++) {
    const at = (<usize>i) << 2;
    const v = v128.load32_splat(x + at);
    store<f32>(y + at, f32x4.extract_lane(f32x4.mul(v, factor(v, activation)), 0));
  }
}

/** dx = dy · act'(x). */
export function activateBackward(dy: usize, x: usize, dx: usize, activation: i32, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const at = (<usize>i) << 2;
    const v = v128.load(x + at);
    v128.store(dx + at, f32x4.mul(v128.load(dy + at), slope(v, factor(v, activation), activation)));
  }
  for (; i < end; i++) {
    const at = (<usize>i) << 2;
    const v = v128.load32_splat(x + at);
    store<f32>(dx + at, load<f32>(dy + at) * f32x4.extract_lane(slope(v, factor(v, activation), activation), 0));
  }
}
