// AssemblyScript. The inner loop of all products but the thinnest: tiles of the result.
import { madd, WIDE } from '../../runtime/wasm/simd.as';
import { MR, NR } from './pack.as';

/**
 * A tile of MR rows and NR columns. Of 8 columns there are 12 accumulators; with two vectors of b and one of a they are
 * as many as fit into the 15 registers that V8 has to give on x86; without fused multiply-add a product takes one more,
 * and a row less fits. Of 16 columns it is the same in registers of 256 bits. V8 keeps them there only where the
 * function is this simple: two steps in a turn of the loop, a scale or a branch at the end, or inlining (hence the
 * module exports them) make it spill, and cost a third of the speed. Rows of a are interleaved, for one pointer instead
 * of six and loads from one cache line. Rows of c are `ldc` bytes apart.
 */
export function multiply(a: usize, b: usize, kc: i32, c: usize, ldc: usize): void {
  makeTile(a, 0, b, kc, c, ldc, true, false);
}

/** The same, added to c. */
export function multiplyAdd(a: usize, b: usize, kc: i32, c: usize, ldc: usize): void {
  makeTile(a, 0, b, kc, c, ldc, true, true);
}

/** The like of `multiply` for rows of a that are `stride` bytes apart. */
export function multiplyRows(a: usize, stride: usize, b: usize, kc: i32, c: usize, ldc: usize): void {
  makeTile(a, stride, b, kc, c, ldc, false, false);
}

/** The same, added to c. */
export function multiplyRowsAdd(a: usize, stride: usize, b: usize, kc: i32, c: usize, ldc: usize): void {
  makeTile(a, stride, b, kc, c, ldc, false, true);
}

/** Each caller knows `interleaved` and `add`, so that none has a branch. */
@inline
function makeTile(
  a0: usize,
  stride: usize,
  b: usize,
  kc: i32,
  c: usize,
  ldc: usize,
  interleaved: bool,
  add: bool,
): void {
  let a1 = interleaved ? a0 : a0 + stride;
  let a2 = interleaved ? a0 : a1 + stride;
  let a3 = interleaved ? a0 : a2 + stride;
  let a4 = interleaved ? a0 : a3 + stride;
  let a5 = interleaved ? a0 : a4 + stride;
  let d = c;
  let c00 = add ? v128.load(d) : f32x4.splat(0);
  let c01 = add ? v128.load(d, 16) : f32x4.splat(0);
  let c02 = add && WIDE ? v128.load(d, 32) : f32x4.splat(0);
  let c03 = add && WIDE ? v128.load(d, 48) : f32x4.splat(0);
  let c10 = add ? v128.load((d += ldc)) : f32x4.splat(0);
  let c11 = add ? v128.load(d, 16) : f32x4.splat(0);
  let c12 = add && WIDE ? v128.load(d, 32) : f32x4.splat(0);
  let c13 = add && WIDE ? v128.load(d, 48) : f32x4.splat(0);
  let c20 = add ? v128.load((d += ldc)) : f32x4.splat(0);
  let c21 = add ? v128.load(d, 16) : f32x4.splat(0);
  let c22 = add && WIDE ? v128.load(d, 32) : f32x4.splat(0);
  let c23 = add && WIDE ? v128.load(d, 48) : f32x4.splat(0);
  let c30 = add ? v128.load((d += ldc)) : f32x4.splat(0);
  let c31 = add ? v128.load(d, 16) : f32x4.splat(0);
  let c32 = add && WIDE ? v128.load(d, 32) : f32x4.splat(0);
  let c33 = add && WIDE ? v128.load(d, 48) : f32x4.splat(0);
  let c40 = add ? v128.load((d += ldc)) : f32x4.splat(0);
  let c41 = add ? v128.load(d, 16) : f32x4.splat(0);
  let c42 = add && WIDE ? v128.load(d, 32) : f32x4.splat(0);
  let c43 = add && WIDE ? v128.load(d, 48) : f32x4.splat(0);
  let c50 = add && MR == 6 ? v128.load((d += ldc)) : f32x4.splat(0);
  let c51 = add && MR == 6 ? v128.load(d, 16) : f32x4.splat(0);
  let c52 = add && WIDE && MR == 6 ? v128.load(d, 32) : f32x4.splat(0);
  let c53 = add && WIDE && MR == 6 ? v128.load(d, 48) : f32x4.splat(0);
  for (let q = 0; q < kc; q++) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const b2 = WIDE ? v128.load(b, 32) : b0;
    const b3 = WIDE ? v128.load(b, 48) : b1;
    const x0 = v128.load32_splat(a0);
    c00 = madd(x0, b0, c00);
    c01 = madd(x0, b1, c01);
    if (WIDE) {
      c02 = madd(x0, b2, c02);
      c03 = madd(x0, b3, c03);
    }
    const x1 = interleaved ? v128.load32_splat(a0, 4) : v128.load32_splat(a1);
    c10 = madd(x1, b0, c10);
    c11 = madd(x1, b1, c11);
    if (WIDE) {
      c12 = madd(x1, b2, c12);
      c13 = madd(x1, b3, c13);
    }
    const x2 = interleaved ? v128.load32_splat(a0, 8) : v128.load32_splat(a2);
    c20 = madd(x2, b0, c20);
    c21 = madd(x2, b1, c21);
    if (WIDE) {
      c22 = madd(x2, b2, c22);
      c23 = madd(x2, b3, c23);
    }
    const x3 = interleaved ? v128.load32_splat(a0, 12) : v128.load32_splat(a3);
    c30 = madd(x3, b0, c30);
    c31 = madd(x3, b1, c31);
    if (WIDE) {
      c32 = madd(x3, b2, c32);
      c33 = madd(x3, b3, c33);
    }
    const x4 = interleaved ? v128.load32_splat(a0, 16) : v128.load32_splat(a4);
    c40 = madd(x4, b0, c40);
    c41 = madd(x4, b1, c41);
    if (WIDE) {
      c42 = madd(x4, b2, c42);
      c43 = madd(x4, b3, c43);
    }
    if (MR == 6) {
      const x5 = interleaved ? v128.load32_splat(a0, 20) : v128.load32_splat(a5);
      c50 = madd(x5, b0, c50);
      c51 = madd(x5, b1, c51);
      if (WIDE) {
        c52 = madd(x5, b2, c52);
        c53 = madd(x5, b3, c53);
      }
    }
    if (interleaved) {
      a0 += MR << 2;
    } else {
      a0 += 4;
      a1 += 4;
      a2 += 4;
      a3 += 4;
      a4 += 4;
      a5 += 4;
    }
    b += NR << 2;
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  if (WIDE) {
    v128.store(c, c02, 32);
    v128.store(c, c03, 48);
  }
  v128.store((c += ldc), c10);
  v128.store(c, c11, 16);
  if (WIDE) {
    v128.store(c, c12, 32);
    v128.store(c, c13, 48);
  }
  v128.store((c += ldc), c20);
  v128.store(c, c21, 16);
  if (WIDE) {
    v128.store(c, c22, 32);
    v128.store(c, c23, 48);
  }
  v128.store((c += ldc), c30);
  v128.store(c, c31, 16);
  if (WIDE) {
    v128.store(c, c32, 32);
    v128.store(c, c33, 48);
  }
  v128.store((c += ldc), c40);
  v128.store(c, c41, 16);
  if (WIDE) {
    v128.store(c, c42, 32);
    v128.store(c, c43, 48);
  }
  if (MR == 6) {
    v128.store((c += ldc), c50);
    v128.store(c, c51, 16);
    if (WIDE) {
      v128.store(c, c52, 32);
      v128.store(c, c53, 48);
    }
  }
}
