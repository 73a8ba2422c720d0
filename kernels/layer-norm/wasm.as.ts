// AssemblyScript. Pointers are byte offsets into the tfjs heap; rows are contiguous, and [begin, end) is a range of
// them.
import { sumOfPart, sumOfParts } from '../runtime/gradients/summands.as';
import { sumLanes } from '../runtime/wasm/simd.as';

/** y = (x − mean) · rstd · w + b, rstd = 1 / √(variance + eps). Writes (mean, rstd) a row. */
export function forward(
  x: usize,
  w: usize,
  b: usize,
  y: usize,
  stats: usize,
  dim: i32,
  eps: f32,
  begin: i32,
  end: i32,
): void {
  const vector = dim & ~3;
  for (let row = begin; row < end; row++) {
    const base = x + ((<usize>row * dim) << 2);
    const out = y + ((<usize>row * dim) << 2);
    let acc = f32x4.splat(0);
    for (let i = 0; i < vector; i += 4) acc = f32x4.add(acc, v128.load(base + (i << 2)));
    let sum = sumLanes(acc);
    for (let i = vector; i < dim; i++) sum += load<f32>(base + (i << 2));
    const mean: f32 = sum / <f32>dim;
    const centre = f32x4.splat(mean);
    // A pass of its own: E(x²) − mean² would cancel where the mean is large.
    acc = f32x4.splat(0);
    for (let i = 0; i < vector; i += 4) {
      const v = f32x4.sub(v128.load(base + (i << 2)), centre);
      acc = f32x4.add(acc, f32x4.mul(v, v));
    }
    let squares = sumLanes(acc);
    for (let i = vector; i < dim; i++) {
      const v = load<f32>(base + (i << 2)) - mean;
      squares += v * v;
    }
    const r: f32 = 1 / Mathf.sqrt(squares / <f32>dim + eps);
    store<f32>(stats + (row << 3), mean);
    store<f32>(stats + (row << 3), r, 4);
    const scale = f32x4.splat(r);
    for (let i = 0; i < vector; i += 4) {
      const at = i << 2;
      const normal = f32x4.mul(f32x4.sub(v128.load(base + at), centre), scale);
      v128.store(out + at, f32x4.add(f32x4.mul(normal, v128.load(w + at)), v128.load(b + at)));
    }
    for (let i = vector; i < dim; i++) {
      const at = i << 2;
      store<f32>(out + at, (load<f32>(base + at) - mean) * r * load<f32>(w + at) + load<f32>(b + at));
    }
  }
}

/**
 * dx = rstd · (g − mean(g) − n · mean(g·n)), + added where that is not 0; g = dy·w, n = (x − mean) · rstd, dy = d0 + d1
 * + d2.
 */
export function backward(
  d0: usize,
  d1: usize,
  d2: usize,
  x: usize,
  w: usize,
  stats: usize,
  added: usize,
  dx: usize,
  dim: i32,
  begin: i32,
  end: i32,
): void {
  const vector = dim & ~3;
  for (let row = begin; row < end; row++) {
    const offset = (<usize>row * dim) << 2;
    const mean = load<f32>(stats + (row << 3));
    const r = load<f32>(stats + (row << 3), 4);
    const centre = f32x4.splat(mean);
    let sums = f32x4.splat(0);
    let dots = f32x4.splat(0);
    for (let i = 0; i < vector; i += 4) {
      const at = i << 2;
      const g = f32x4.mul(sumOfParts(d0, d1, d2, offset + at), v128.load(w + at));
      sums = f32x4.add(sums, g);
      dots = f32x4.add(dots, f32x4.mul(g, f32x4.sub(v128.load(x + offset + at), centre)));
    }
    let sum = sumLanes(sums);
    let dot = sumLanes(dots);
    for (let i = vector; i < dim; i++) {
      const at = i << 2;
      const g = sumOfPart(d0, d1, d2, offset + at) * load<f32>(w + at);
      sum += g;
      dot += g * (load<f32>(x + offset + at) - mean);
    }
    const m: f32 = sum / <f32>dim;
    const k: f32 = (dot * r * r) / <f32>dim;
    const rv = f32x4.splat(r);
    const mv = f32x4.splat(m);
    const kv = f32x4.splat(k);
    for (let i = 0; i < vector; i += 4) {
      const at = i << 2;
      const g = f32x4.sub(f32x4.mul(sumOfParts(d0, d1, d2, offset + at), v128.load(w + at)), mv);
      const part = f32x4.mul(f32x4.sub(v128.load(x + offset + at), centre), kv);
      let value = f32x4.mul(rv, f32x4.sub(g, part));
      if (added != 0) value = f32x4.add(value, v128.load(added + offset + at));
      v128.store(dx + offset + at, value);
    }
    for (let i = vector; i < dim; i++) {
      const at = i << 2;
      const g = sumOfPart(d0, d1, d2, offset + at) * load<f32>(w + at) - m;
      let value = r * (g - (load<f32>(x + offset + at) - mean) * k);
      if (added != 0) value += load<f32>(added + offset + at);
      store<f32>(dx + offset + at, value);
    }
  }
}

/** dw = Σ over rows of dy·n, db = Σ dy, for the columns [begin, end): begin is a multiple of 4. */
export function weights(
  d0: usize,
  d1: usize,
  d2: usize,
  x: usize,
  stats: usize,
  dw: usize,
  db: usize,
  rows: i32,
  dim: i32,
  begin: i32,
  end: i32,
): void {
  const bytes = (<usize>(end - begin)) << 2;
  memory.fill(dw + (begin << 2), 0, bytes);
  memory.fill(db + (begin << 2), 0, bytes);
  const vector = begin + ((end - begin) & ~3);
  for (let row = 0; row < rows; row++) {
    const offset = (<usize>row * dim) << 2;
    const mean = load<f32>(stats + (row << 3));
    const r = load<f32>(stats + (row << 3), 4);
    for (let i = begin; i < vector; i += 4) {
      const at = i << 2;
      const d = sumOfParts(d0, d1, d2, offset + at);
      const normal = f32x4.mul(f32x4.sub(v128.load(x + offset + at), f32x4.splat(mean)), f32x4.splat(r));
      v128.store(dw + at, f32x4.add(v128.load(dw + at), f32x4.mul(d, normal)));
      v128.store(db + at, f32x4.add(v128.load(db + at), d));
    }
    for (let i = vector; i < end; i++) {
      const at = i << 2;
      const d = sumOfPart(d0, d1, d2, offset + at);
      store<f32>(dw + at, load<f32>(dw + at) + d * ((load<f32>(x + offset + at) - mean) * r));
      store<f32>(db + at, load<f32>(db + at) + d);
    }
  }
}
