// AssemblyScript. Pointers are byte offsets into the tfjs heap; rows are contiguous, and [begin, end) is a range of them.
import { sumLanes } from '../runtime/simd';

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

/** dx = rstd · (dy·w − x · rstd² · mean(dy·w·x)). */
export function backward(dy: usize, x: usize, w: usize, rstd: usize, dx: usize, dim: i32, begin: i32, end: i32): void {
  const vector = dim & ~3;
  for (let row = begin; row < end; row++) {
    const offset = (row * dim) << 2;
    let acc = f32x4.splat(0);
    for (let i = 0; i < vector; i += 4) {
      const at = i << 2;
      acc = f32x4.add(acc, f32x4.mul(f32x4.mul(v128.load(dy + offset + at), v128.load(w + at)), v128.load(x + offset + at)));
    }
    let dot = sumLanes(acc);
    for (let i = vector; i < dim; i++) {
      const at = i << 2;
      dot += load<f32>(dy + offset + at) * load<f32>(w + at) * load<f32>(x + offset + at);
    }
    const r = load<f32>(rstd + (row << 2));
    const k: f32 = (dot * r * r) / <f32>dim;
    const rv = f32x4.splat(r);
    const kv = f32x4.splat(k);
    for (let i = 0; i < vector; i += 4) {
      const at = i << 2;
      const g = f32x4.mul(v128.load(dy + offset + at), v128.load(w + at));
      v128.store(dx + offset + at, f32x4.mul(rv, f32x4.sub(g, f32x4.mul(v128.load(x + offset + at), kv))));
    }
    for (let i = vector; i < dim; i++) {
      const at = i << 2;
      store<f32>(dx + offset + at, r * (load<f32>(dy + offset + at) * load<f32>(w + at) - load<f32>(x + offset + at) * k));
    }
  }
}
