// AssemblyScript. Pointers are byte offsets into the tfjs heap; rows are contiguous, and [begin, end) is a range of
// them.
import { sumOfPart, sumOfParts } from '../runtime/gradients/summands.as';
import { sumLanes } from '../runtime/wasm/simd.as';

/** y[i] = x[i] · rstd · w, rstd = 1 / √(mean(x²) + eps). Writes rstd a row. */
export function forward(x: usize, w: usize, y: usize, rstd: usize, dim: i32, eps: f32, begin: i32, end: i32): void {
  const vector = dim & ~3;
  for (let row = begin; row < end; row++) {
    const base = x + ((row * dim) << 2);
    const out = y + ((row * dim) << 2);
    let acc = f32x4.splat(0);
    for (let i = 0; i < vector; i += 4) {
      const v = v128.load(base + (i << 2));
      acc = f32x4.add(acc, f32x4.mul(v, v));
    }
    let sum = sumLanes(acc);
    for (let i = vector; i < dim; i++) {
      const v = load<f32>(base + (i << 2));
      sum += v * v;
    }
    const r: f32 = 1 / Mathf.sqrt(sum / <f32>dim + eps);
    store<f32>(rstd + (row << 2), r);
    const scale = f32x4.splat(r);
    for (let i = 0; i < vector; i += 4) {
      const at = i << 2;
      v128.store(out + at, f32x4.mul(f32x4.mul(v128.load(base + at), scale), v128.load(w + at)));
    }
    for (let i = vector; i < dim; i++) {
      const at = i << 2;
      store<f32>(out + at, load<f32>(base + at) * r * load<f32>(w + at));
    }
  }
}

/** The same of v = x + added, which is written to total; `total` may not be x. */
export function addForward(
  x: usize,
  added: usize,
  w: usize,
  total: usize,
  y: usize,
  rstd: usize,
  dim: i32,
  eps: f32,
  begin: i32,
  end: i32,
): void {
  const vector = dim & ~3;
  for (let row = begin; row < end; row++) {
    const offset = (<usize>row * dim) << 2;
    for (let i = 0; i < vector; i += 4) {
      const at = offset + (i << 2);
      v128.store(total + at, f32x4.add(v128.load(x + at), v128.load(added + at)));
    }
    for (let i = vector; i < dim; i++) {
      const at = offset + (i << 2);
      store<f32>(total + at, load<f32>(x + at) + load<f32>(added + at));
    }
    forward(total, w, y, rstd, dim, eps, row, row + 1);
  }
}

/** dx = rstd · (dy·w − x · rstd² · mean(dy·w·x)), + added where that is not 0; dy = d0 + d1 + d2. */
export function backward(
  d0: usize,
  d1: usize,
  d2: usize,
  x: usize,
  w: usize,
  rstd: usize,
  added: usize,
  dx: usize,
  dim: i32,
  begin: i32,
  end: i32,
): void {
  const vector = dim & ~3;
  for (let row = begin; row < end; row++) {
    const offset = (<usize>row * dim) << 2;
    let acc = f32x4.splat(0);
    for (let i = 0; i < vector; i += 4) {
      const at = i << 2;
      const d = sumOfParts(d0, d1, d2, offset + at);
      acc = f32x4.add(acc, f32x4.mul(f32x4.mul(d, v128.load(w + at)), v128.load(x + offset + at)));
    }
    let dot = sumLanes(acc);
    for (let i = vector; i < dim; i++) {
      const at = i << 2;
      dot += sumOfPart(d0, d1, d2, offset + at) * load<f32>(w + at) * load<f32>(x + offset + at);
    }
    const r = load<f32>(rstd + (row << 2));
    const k: f32 = (dot * r * r) / <f32>dim;
    const rv = f32x4.splat(r);
    const kv = f32x4.splat(k);
    for (let i = 0; i < vector; i += 4) {
      const at = i << 2;
      const g = f32x4.mul(sumOfParts(d0, d1, d2, offset + at), v128.load(w + at));
      let value = f32x4.mul(rv, f32x4.sub(g, f32x4.mul(v128.load(x + offset + at), kv)));
      if (added != 0) value = f32x4.add(value, v128.load(added + offset + at));
      v128.store(dx + offset + at, value);
    }
    for (let i = vector; i < dim; i++) {
      const at = i << 2;
      let value = r * (sumOfPart(d0, d1, d2, offset + at) * load<f32>(w + at) - load<f32>(x + offset + at) * k);
      if (added != 0) value += load<f32>(added + offset + at);
      store<f32>(dx + offset + at, value);
    }
  }
}

/** dw = Σ over rows of dy·x·rstd, for the columns [begin, end): begin is a multiple of 4. */
export function weights(
  d0: usize,
  d1: usize,
  d2: usize,
  x: usize,
  rstd: usize,
  dw: usize,
  rows: i32,
  dim: i32,
  begin: i32,
  end: i32,
): void {
  memory.fill(dw + (begin << 2), 0, (<usize>(end - begin)) << 2);
  const vector = begin + ((end - begin) & ~3);
  for (let row = 0; row < rows; row++) {
    const offset = (<usize>row * dim) << 2;
    const r = load<f32>(rstd + (row << 2));
    for (let i = begin; i < vector; i += 4) {
      const at = i << 2;
      const normal = f32x4.mul(v128.load(x + offset + at), f32x4.splat(r));
      v128.store(dw + at, f32x4.add(v128.load(dw + at), f32x4.mul(sumOfParts(d0, d1, d2, offset + at), normal)));
    }
    for (let i = vector; i < end; i++) {
      const at = i << 2;
      store<f32>(dw + at, load<f32>(dw + at) + sumOfPart(d0, d1, d2, offset + at) * (load<f32>(x + offset + at) * r));
    }
  }
}
