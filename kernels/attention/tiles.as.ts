// AssemblyScript. Products within attention's tiles, so small that their sums stay in registers: see `multiply` of the
// matmul kernel. Pointers are byte offsets; each element is a sum of `steps` products.
import { madd, WIDE } from '../runtime/wasm/simd.as';

/** Queries and keys of a tile of scores, and bytes from one key's scores to the next one's. */
export const QUERIES: i32 = 32;
export const KEYS: i32 = 64;
export const SCORE_ROW: usize = 128;
/**
 * Keys of a panel, and what ranges of visible keys are rounded to. Two units that add products 4 cycles deep take 8
 * sums to keep busy.
 */
export const PANEL: i32 = WIDE ? 8 : 4;
/** Queries of a panel. */
export const GROUP: i32 = WIDE ? 16 : 8;

/** c[PANEL keys][8 queries] = Σ of a[step][PANEL]ᵀ · b[step][8 of GROUP], rows of c SCORE_ROW bytes apart. */
export function scoreTile(a: usize, b: usize, c: usize, steps: i32): void {
  makeTile(a, PANEL << 2, b, c, SCORE_ROW, steps, WIDE, false, false, false);
}

/** c[4 keys][16 queries] = Σ of a[step][4 of PANEL]ᵀ · b[step][16]. */
export function scoreTile16(a: usize, b: usize, c: usize, steps: i32): void {
  makeTile(a, PANEL << 2, b, c, SCORE_ROW, steps, false, true, false, false);
}

/** c[4 queries][8] += Σ of a[step][4]ᵀ · b[step][8], steps of a SCORE_ROW bytes apart. */
export function addAcross(a: usize, b: usize, c: usize, cRow: usize, steps: i32): void {
  makeTile(a, SCORE_ROW, b, c, cRow, steps, false, false, false, true);
}

/** The same for the 16 columns of two panels [KEYS][8]. */
export function addAcross16(a: usize, b: usize, c: usize, cRow: usize, steps: i32): void {
  makeTile(a, SCORE_ROW, b, c, cRow, steps, false, true, false, true);
}

/** c[4 keys][8] += Σ of a[4][step] · b[step][8], rows of a SCORE_ROW bytes apart. */
export function addAlong(a: usize, b: usize, c: usize, cRow: usize, steps: i32): void {
  makeTile(a, 4, b, c, cRow, steps, false, false, true, true);
}

/** The same for the 16 columns of two panels [QUERIES][8]. */
export function addAlong16(a: usize, b: usize, c: usize, cRow: usize, steps: i32): void {
  makeTile(a, 4, b, c, cRow, steps, false, true, true, true);
}

/**
 * 4 rows of 8 sums, `broad` of 16; `tall`, which neither adds nor goes along: 8 rows of 8. Each caller knows the last
 * four arguments, so that none has a branch. What is added to is read first: V8 joins no loads that a store lies
 * between.
 */
@inline
function makeTile(
  a: usize,
  aStep: usize,
  b: usize,
  c: usize,
  cRow: usize,
  steps: i32,
  tall: bool,
  broad: bool,
  along: bool,
  add: bool,
): void {
  let d = c;
  let c00 = add ? v128.load(d) : f32x4.splat(0);
  let c01 = add ? v128.load(d, 16) : f32x4.splat(0);
  let c02 = broad && add ? v128.load(d, 32) : f32x4.splat(0);
  let c03 = broad && add ? v128.load(d, 48) : f32x4.splat(0);
  let c10 = add ? v128.load((d += cRow)) : f32x4.splat(0);
  let c11 = add ? v128.load(d, 16) : f32x4.splat(0);
  let c12 = broad && add ? v128.load(d, 32) : f32x4.splat(0);
  let c13 = broad && add ? v128.load(d, 48) : f32x4.splat(0);
  let c20 = add ? v128.load((d += cRow)) : f32x4.splat(0);
  let c21 = add ? v128.load(d, 16) : f32x4.splat(0);
  let c22 = broad && add ? v128.load(d, 32) : f32x4.splat(0);
  let c23 = broad && add ? v128.load(d, 48) : f32x4.splat(0);
  let c30 = add ? v128.load((d += cRow)) : f32x4.splat(0);
  let c31 = add ? v128.load(d, 16) : f32x4.splat(0);
  let c32 = broad && add ? v128.load(d, 32) : f32x4.splat(0);
  let c33 = broad && add ? v128.load(d, 48) : f32x4.splat(0);
  let c40 = f32x4.splat(0),
    c41 = f32x4.splat(0),
    c50 = f32x4.splat(0),
    c51 = f32x4.splat(0);
  let c60 = f32x4.splat(0),
    c61 = f32x4.splat(0),
    c70 = f32x4.splat(0),
    c71 = f32x4.splat(0);
  for (let t = 0; t < steps; t++) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const b2 = !broad ? b0 : !add ? v128.load(b, 32) : along ? v128.load(b, QUERIES << 5) : v128.load(b, KEYS << 5);
    const b3 = !broad
      ? b1
      : !add
        ? v128.load(b, 48)
        : along
          ? v128.load(b, (QUERIES << 5) + 16)
          : v128.load(b, (KEYS << 5) + 16);
    let x = v128.load_splat<f32>(a);
    c00 = madd(x, b0, c00);
    c01 = madd(x, b1, c01);
    if (broad) {
      c02 = madd(x, b2, c02);
      c03 = madd(x, b3, c03);
    }
    x = along ? v128.load_splat<f32>(a, SCORE_ROW) : v128.load_splat<f32>(a, 4);
    c10 = madd(x, b0, c10);
    c11 = madd(x, b1, c11);
    if (broad) {
      c12 = madd(x, b2, c12);
      c13 = madd(x, b3, c13);
    }
    x = along ? v128.load_splat<f32>(a, 2 * SCORE_ROW) : v128.load_splat<f32>(a, 8);
    c20 = madd(x, b0, c20);
    c21 = madd(x, b1, c21);
    if (broad) {
      c22 = madd(x, b2, c22);
      c23 = madd(x, b3, c23);
    }
    x = along ? v128.load_splat<f32>(a, 3 * SCORE_ROW) : v128.load_splat<f32>(a, 12);
    c30 = madd(x, b0, c30);
    c31 = madd(x, b1, c31);
    if (broad) {
      c32 = madd(x, b2, c32);
      c33 = madd(x, b3, c33);
    }
    if (tall) {
      x = v128.load_splat<f32>(a, 16);
      c40 = madd(x, b0, c40);
      c41 = madd(x, b1, c41);
      x = v128.load_splat<f32>(a, 20);
      c50 = madd(x, b0, c50);
      c51 = madd(x, b1, c51);
      x = v128.load_splat<f32>(a, 24);
      c60 = madd(x, b0, c60);
      c61 = madd(x, b1, c61);
      x = v128.load_splat<f32>(a, 28);
      c70 = madd(x, b0, c70);
      c71 = madd(x, b1, c71);
    }
    a += aStep;
    b += add ? 32 : GROUP << 2;
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  if (broad) {
    v128.store(c, c02, 32);
    v128.store(c, c03, 48);
  }
  v128.store((c += cRow), c10);
  v128.store(c, c11, 16);
  if (broad) {
    v128.store(c, c12, 32);
    v128.store(c, c13, 48);
  }
  v128.store((c += cRow), c20);
  v128.store(c, c21, 16);
  if (broad) {
    v128.store(c, c22, 32);
    v128.store(c, c23, 48);
  }
  v128.store((c += cRow), c30);
  v128.store(c, c31, 16);
  if (broad) {
    v128.store(c, c32, 32);
    v128.store(c, c33, 48);
  }
  if (tall) {
    v128.store((c += cRow), c40);
    v128.store(c, c41, 16);
    v128.store((c += cRow), c50);
    v128.store(c, c51, 16);
    v128.store((c += cRow), c60);
    v128.store(c, c61, 16);
    v128.store((c += cRow), c70);
    v128.store(c, c71, 16);
  }
}
