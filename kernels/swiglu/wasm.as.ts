// AssemblyScript. Pointers are byte offsets into the tfjs heap; [begin, end) is a range of elements, `table` scratch
// for EXP_TABLE bytes.
import { EXP_TABLE, expLanes, fillExpTable, oneLanes } from '../runtime/wasm/simd.as';

const SILU: i32 = 0;
const GELU: i32 = 1;
const RELU: i32 = 3;

/** Bytes of scratch that a part of a call wants. */
export function scratchBytes(): i32 {
  return EXP_TABLE;
}

@inline
function all(value: f32): v128 {
  return f32x4.splat(value);
}

/** σ(x). */
@inline
function sigmoid(x: v128, table: usize): v128 {
  const one = oneLanes(table);
  return f32x4.div(one, f32x4.add(one, expLanes(f32x4.sub(all(0), x), table)));
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
function bell(x: v128, table: usize): v128 {
  return expLanes(f32x4.mul(f32x4.mul(x, x), all(-0.5)), table);
}

/** ½(1 + tanh(√(2/π)·(x + 0.044715·x³))) = σ(2·√(2/π)·(x + 0.044715·x³)). */
@inline
function tanhCdf(x: v128, table: usize): v128 {
  return sigmoid(
    f32x4.mul(f32x4.mul(x, all(1.5957691216)), f32x4.add(all(1), f32x4.mul(all(0.044715), f32x4.mul(x, x)))),
    table,
  );
}

@inline
function factor(x: v128, activation: i32, table: usize): v128 {
  if (activation == SILU) return sigmoid(x, table);
  if (activation == GELU) return normalCdf(x, bell(x, table));
  // A NaN is a factor of its own kind.
  if (activation == RELU) return v128.bitselect(x, v128.and(f32x4.gt(x, all(0)), all(1)), f32x4.ne(x, x));
  return tanhCdf(x, table);
}

/** act'(x), where act(x) = x · s. */
@inline
function slope(x: v128, s: v128, activation: i32, table: usize): v128 {
  if (activation == SILU) return f32x4.mul(s, f32x4.add(oneLanes(table), f32x4.mul(x, f32x4.sub(oneLanes(table), s))));
  if (activation == GELU) return f32x4.add(s, f32x4.mul(x, f32x4.mul(all(0.39894228), bell(x, table))));
  if (activation == RELU) return s;
  const inner = f32x4.mul(all(1.5957691216), f32x4.add(all(1), f32x4.mul(all(0.134145), f32x4.mul(x, x))));
  return f32x4.add(s, f32x4.mul(f32x4.mul(x, inner), f32x4.mul(s, f32x4.sub(all(1), s))));
}

// Loops take two vectors a turn: their latencies overlap, and an engine that joins neighbours makes them one, where no
// branch is between them. So what most models have, SiLU, goes through loops of its own. They are exported so that V8
// sees them apart from the others, which leaves it enough registers.

/** y = act(gate) · up. */
export function forward(gate: usize, up: usize, y: usize, activation: i32, begin: i32, end: i32, table: usize): void {
  fillExpTable(table);
  const first = (<usize>begin) << 2;
  const bytes = (<usize>(end - begin)) << 2;
  if (activation == SILU) forwardSilu(gate + first, up + first, y + first, bytes, table);
  else forwardOther(gate + first, up + first, y + first, activation, bytes, table);
}

export function forwardSilu(gate: usize, up: usize, y: usize, bytes: usize, table: usize): void {
  forwardLoop(gate, up, y, SILU, bytes, table);
}

export function forwardOther(gate: usize, up: usize, y: usize, activation: i32, bytes: usize, table: usize): void {
  forwardLoop(gate, up, y, activation, bytes, table);
}

@inline
function forwardLoop(gate: usize, up: usize, y: usize, activation: i32, bytes: usize, table: usize): void {
  let at: usize = 0;
  for (; at + 32 <= bytes; at += 32) {
    const y0 = gated(v128.load(gate + at), v128.load(up + at), activation, table);
    const y1 = gated(v128.load(gate + at, 16), v128.load(up + at, 16), activation, table);
    v128.store(y + at, y0);
    v128.store(y + at, y1, 16);
  }
  for (; at < bytes; at += 4) {
    store<f32>(
      y + at,
      f32x4.extract_lane(gated(v128.load32_splat(gate + at), v128.load32_splat(up + at), activation, table), 0),
    );
  }
}

@inline
function gated(x: v128, up: v128, activation: i32, table: usize): v128 {
  return f32x4.mul(f32x4.mul(x, factor(x, activation, table)), up);
}

/** dgate = dy · up · act'(gate); dup = dy · act(gate). */
export function backward(
  dy: usize,
  gate: usize,
  up: usize,
  dgate: usize,
  dup: usize,
  activation: i32,
  begin: i32,
  end: i32,
  table: usize,
): void {
  fillExpTable(table);
  const first = (<usize>begin) << 2;
  const bytes = (<usize>(end - begin)) << 2;
  if (activation == SILU) backwardSilu(dy + first, gate + first, up + first, dgate + first, dup + first, bytes, table);
  else backwardOther(dy + first, gate + first, up + first, dgate + first, dup + first, activation, bytes, table);
}

export function backwardSilu(
  dy: usize,
  gate: usize,
  up: usize,
  dgate: usize,
  dup: usize,
  bytes: usize,
  table: usize,
): void {
  backwardLoop(dy, gate, up, dgate, dup, SILU, bytes, table);
}

export function backwardOther(
  dy: usize,
  gate: usize,
  up: usize,
  dgate: usize,
  dup: usize,
  activation: i32,
  bytes: usize,
  table: usize,
): void {
  backwardLoop(dy, gate, up, dgate, dup, activation, bytes, table);
}

@inline
function backwardLoop(
  dy: usize,
  gate: usize,
  up: usize,
  dgate: usize,
  dup: usize,
  activation: i32,
  bytes: usize,
  table: usize,
): void {
  let at: usize = 0;
  for (; at + 32 <= bytes; at += 32) {
    const x0 = v128.load(gate + at);
    const x1 = v128.load(gate + at, 16);
    const d0 = v128.load(dy + at);
    const d1 = v128.load(dy + at, 16);
    const s0 = factor(x0, activation, table);
    const s1 = factor(x1, activation, table);
    const g0 = f32x4.mul(f32x4.mul(d0, v128.load(up + at)), slope(x0, s0, activation, table));
    const g1 = f32x4.mul(f32x4.mul(d1, v128.load(up + at, 16)), slope(x1, s1, activation, table));
    v128.store(dgate + at, g0);
    v128.store(dgate + at, g1, 16);
    v128.store(dup + at, f32x4.mul(d0, f32x4.mul(x0, s0)));
    v128.store(dup + at, f32x4.mul(d1, f32x4.mul(x1, s1)), 16);
  }
  for (; at < bytes; at += 4) {
    const x = v128.load32_splat(gate + at);
    const d = v128.load32_splat(dy + at);
    const s = factor(x, activation, table);
    store<f32>(
      dgate + at,
      f32x4.extract_lane(f32x4.mul(f32x4.mul(d, v128.load32_splat(up + at)), slope(x, s, activation, table)), 0),
    );
    store<f32>(dup + at, f32x4.extract_lane(f32x4.mul(d, f32x4.mul(x, s)), 0));
  }
}

/** y = act(x). */
export function activate(x: usize, y: usize, activation: i32, begin: i32, end: i32, table: usize): void {
  fillExpTable(table);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const at = (<usize>i) << 2;
    const v = v128.load(x + at);
    v128.store(y + at, f32x4.mul(v, factor(v, activation, table)));
  }
  for (; i < end; i++) {
    const at = (<usize>i) << 2;
    const v = v128.load32_splat(x + at);
    store<f32>(y + at, f32x4.extract_lane(f32x4.mul(v, factor(v, activation, table)), 0));
  }
}

/** dx = dy · act'(x). */
export function activateBackward(
  dy: usize,
  x: usize,
  dx: usize,
  activation: i32,
  begin: i32,
  end: i32,
  table: usize,
): void {
  fillExpTable(table);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const at = (<usize>i) << 2;
    const v = v128.load(x + at);
    v128.store(dx + at, f32x4.mul(v128.load(dy + at), slope(v, factor(v, activation, table), activation, table)));
  }
  for (; i < end; i++) {
    const at = (<usize>i) << 2;
    const v = v128.load32_splat(x + at);
    store<f32>(
      dx + at,
      load<f32>(dy + at) * f32x4.extract_lane(slope(v, factor(v, activation, table), activation, table), 0),
    );
  }
}
