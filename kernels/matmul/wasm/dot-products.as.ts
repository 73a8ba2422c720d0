// AssemblyScript. Products by dot products; see `dots`.
import { decode } from '../../nf4-dequantize/wasm.as';
import { madd, sumLanes } from '../../runtime/wasm/simd.as';

/** Longest piece of a row of b that is decoded at a time. */
const PIECE: i32 = 3072;

/**
 * A product of few rows with both operands along k: every row of b, decoded if need be, meets all rows of a. Dot
 * products beat panels where each weight is used but once or twice: generation, one token at a time. rows is scratch
 * for PIECE decoded values.
 */
export function dots(
  a: usize,
  lda: i32,
  b: usize,
  ldb: i32,
  bKind: i32,
  c: usize,
  ldc: i32,
  k: i32,
  alpha: f32,
  accumulate: i32,
  rowBegin: i32,
  rowEnd: i32,
  colBegin: i32,
  colEnd: i32,
  rows: usize,
  table: usize,
): void {
  for (let col = colBegin; col < colEnd; col++) {
    for (let p = 0; p < k; p += PIECE) {
      const length = min(PIECE, k - p);
      const values = bKind == 0 ? b + ((col * ldb + p) << 2) : rows;
      if (bKind == 2) decode(col * ldb + p, length, rows, table);
      for (let row = rowBegin; row < rowEnd; row++) {
        const to = c + ((row * ldc + col) << 2);
        const value = alpha * dot(a + ((row * lda + p) << 2), values, length);
        store<f32>(to, accumulate | i32(p > 0) ? load<f32>(to) + value : value);
      }
    }
  }
}

function dot(x: usize, w: usize, length: i32): f32 {
  let s0 = f32x4.splat(0),
    s1 = f32x4.splat(0),
    s2 = f32x4.splat(0),
    s3 = f32x4.splat(0);
  let i = 0;
  for (; i + 16 <= length; i += 16, x += 64, w += 64) {
    s0 = madd(v128.load(x), v128.load(w), s0);
    s1 = madd(v128.load(x, 16), v128.load(w, 16), s1);
    s2 = madd(v128.load(x, 32), v128.load(w, 32), s2);
    s3 = madd(v128.load(x, 48), v128.load(w, 48), s3);
  }
  for (; i + 4 <= length; i += 4, x += 16, w += 16) s0 = madd(v128.load(x), v128.load(w), s0);
  let sum = sumLanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  for (; i < length; i++, x += 4, w += 4) sum += load<f32>(x) * load<f32>(w);
  return sum;
}
