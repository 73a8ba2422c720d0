// AssemblyScript. Products aᵀ · b with few rows; see `outer`.
import { madd, WIDE } from '../../runtime/wasm/simd.as';

/** Rows and columns of a tile. */
const TR: i32 = 4;
const TC: i32 = WIDE ? 16 : 8;

/**
 * c = (or, with add, +=) alpha · aᵀ · b for the columns [col, col + nc) of b, with both operands stored along the
 * summed dimension, [k, rows] and [k, cols], and read where they lie: packing would take longer than so few rows of
 * products. An element is one sum over k, in its order. transposed: c is stored as [cols, rows].
 */
export function outer(
  a: usize,
  lda: i32,
  rows: i32,
  b: usize,
  ldb: i32,
  col: i32,
  nc: i32,
  k: i32,
  alpha: f32,
  c: usize,
  ldc: i32,
  transposed: i32,
  add: i32,
  tile: usize,
): void {
  const stepA = (<usize>lda) << 2;
  const stepB = (<usize>ldb) << 2;
  for (let j = 0; j < nc; j += TC) {
    const cols = min(TC, nc - j);
    const from = b + ((col + j) << 2);
    for (let i = 0; i < rows;) {
      const count = cols == TC && rows - i >= TR ? TR : 1;
      const left = a + (i << 2);
      if (count == TR) fourRows(left, stepA, from, stepB, k, tile);
      else if (cols == TC) oneRow(left, stepA, from, stepB, k, tile);
      else for (let e = 0; e < cols; e++) oneValue(left, stepA, from + (e << 2), stepB, k, tile + (e << 2));
      for (let r = 0; r < count; r++) {
        for (let e = 0; e < cols; e++) {
          const to = c + ((transposed ? (col + j + e) * ldc + i + r : (i + r) * ldc + col + j + e) << 2);
          const value = alpha * load<f32>(tile + ((r * TC + e) << 2));
          store<f32>(to, add ? load<f32>(to) + value : value);
        }
      }
      i += count;
    }
  }
}

/** A tile of 4 rows and TC columns. Rows of a and b are stepA and stepB bytes apart. */
function fourRows(a: usize, stepA: usize, b: usize, stepB: usize, k: i32, to: usize): void {
  let c00 = f32x4.splat(0),
    c01 = f32x4.splat(0),
    c02 = f32x4.splat(0),
    c03 = f32x4.splat(0);
  let c10 = f32x4.splat(0),
    c11 = f32x4.splat(0),
    c12 = f32x4.splat(0),
    c13 = f32x4.splat(0);
  let c20 = f32x4.splat(0),
    c21 = f32x4.splat(0),
    c22 = f32x4.splat(0),
    c23 = f32x4.splat(0);
  let c30 = f32x4.splat(0),
    c31 = f32x4.splat(0),
    c32 = f32x4.splat(0),
    c33 = f32x4.splat(0);
  for (let q = 0; q < k; q++, a += stepA, b += stepB) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const b2 = WIDE ? v128.load(b, 32) : b0;
    const b3 = WIDE ? v128.load(b, 48) : b1;
    const x0 = v128.load32_splat(a);
    c00 = madd(x0, b0, c00);
    c01 = madd(x0, b1, c01);
    const x1 = v128.load32_splat(a, 4);
    c10 = madd(x1, b0, c10);
    c11 = madd(x1, b1, c11);
    const x2 = v128.load32_splat(a, 8);
    c20 = madd(x2, b0, c20);
    c21 = madd(x2, b1, c21);
    const x3 = v128.load32_splat(a, 12);
    c30 = madd(x3, b0, c30);
    c31 = madd(x3, b1, c31);
    if (WIDE) {
      c02 = madd(x0, b2, c02);
      c03 = madd(x0, b3, c03);
      c12 = madd(x1, b2, c12);
      c13 = madd(x1, b3, c13);
      c22 = madd(x2, b2, c22);
      c23 = madd(x2, b3, c23);
      c32 = madd(x3, b2, c32);
      c33 = madd(x3, b3, c33);
    }
  }
  putRow(to, c00, c01, c02, c03);
  putRow((to += TC << 2), c10, c11, c12, c13);
  putRow((to += TC << 2), c20, c21, c22, c23);
  putRow((to += TC << 2), c30, c31, c32, c33);
}

@inline
function putRow(to: usize, c0: v128, c1: v128, c2: v128, c3: v128): void {
  v128.store(to, c0);
  v128.store(to, c1, 16);
  if (WIDE) {
    v128.store(to, c2, 32);
    v128.store(to, c3, 48);
  }
}

function oneRow(a: usize, stepA: usize, b: usize, stepB: usize, k: i32, to: usize): void {
  let c0 = f32x4.splat(0),
    c1 = f32x4.splat(0),
    c2 = f32x4.splat(0),
    c3 = f32x4.splat(0);
  for (let q = 0; q < k; q++, a += stepA, b += stepB) {
    const x = v128.load32_splat(a);
    c0 = madd(x, v128.load(b), c0);
    c1 = madd(x, v128.load(b, 16), c1);
    if (WIDE) {
      c2 = madd(x, v128.load(b, 32), c2);
      c3 = madd(x, v128.load(b, 48), c3);
    }
  }
  putRow(to, c0, c1, c2, c3);
}

function oneValue(a: usize, stepA: usize, b: usize, stepB: usize, k: i32, to: usize): void {
  let c = f32x4.splat(0);
  for (let q = 0; q < k; q++, a += stepA, b += stepB) c = madd(v128.load32_splat(a), v128.load32_splat(b), c);
  store<f32>(to, f32x4.extract_lane(c, 0));
}
