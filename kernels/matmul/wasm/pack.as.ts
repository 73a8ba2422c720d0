// AssemblyScript. Operands of a product in the order in which its inner loop reads them.
import { decode } from '../../nf4-dequantize/wasm.as';
import { WIDE } from '../../runtime/wasm/simd.as';

/** Rows and columns of a tile: see `multiply`. */
export const MR: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 5;
export const NR: i32 = WIDE ? 16 : 8;

/**
 * Panels of NR columns, `length` rows apart: [panel][length][NR], of which kc rows are written; columns past the end
 * are zero. rows is scratch for decoded values, NR · max(kc, nc) of them.
 */
export function packColumns(
  b: usize,
  ldb: i32,
  bKind: i32,
  p: i32,
  kc: i32,
  col: i32,
  nc: i32,
  to: usize,
  length: i32,
  rows: usize,
  table: usize,
): void {
  if (bKind == 0) {
    for (let j = 0; j < nc; j += NR) {
      transposePanel(b + (((col + j) * ldb + p) << 2), ldb << 2, min(NR, nc - j), kc, to + ((j * length) << 2));
    }
  } else if (bKind == 2) {
    for (let j = 0; j < nc; j += NR) {
      const count = min(NR, nc - j);
      for (let r = 0; r < count; r++) decode((col + j + r) * ldb + p, kc, rows + ((r * kc) << 2), table);
      transposePanel(rows, kc << 2, count, kc, to + ((j * length) << 2));
    }
  } else if (bKind == 1) {
    copyPanels(b + ((p * ldb + col) << 2), ldb << 2, kc, nc, length, to);
  } else {
    for (let q = 0; q < kc; q += NR) {
      const count = min(NR, kc - q);
      for (let r = 0; r < count; r++) decode((p + q + r) * ldb + col, nc, rows + ((r * nc) << 2), table);
      copyPanels(rows, nc << 2, count, nc, length, to + ((q * NR) << 2));
    }
  }
}

/** kc rows of such panels, times alpha. */
export function scalePanels(to: usize, nc: i32, kc: i32, length: i32, alpha: f32): void {
  const s = f32x4.splat(alpha);
  for (let j = 0; j < nc; j += NR) {
    const from = to + ((j * length) << 2);
    for (let at = from; at < from + ((kc * NR) << 2); at += 16) v128.store(at, f32x4.mul(v128.load(at), s));
  }
}

/**
 * count rows [row, row + count) of a, from p on, as [kc][MR]; rows past count are zero. aColumns: a is stored as [k,
 * rows].
 */
export function packRows(a: usize, lda: i32, aColumns: i32, p: i32, kc: i32, row: i32, count: i32, to: usize): void {
  const stride = (<usize>lda) << 2;
  const from = a + ((aColumns ? p * lda + row : row * lda + p) << 2);
  let q = 0;
  if (count < MR) memory.fill(to, 0, (kc * MR) << 2);
  else if (aColumns) q = copyRows(from, stride, kc, to);
  else q = transposeRows(from, stride, kc, to);
  const stepK = aColumns ? stride : 4;
  const stepRow = aColumns ? 4 : stride;
  for (; q < kc; q++) {
    for (let r = 0; r < count; r++) store<f32>(to + ((q * MR + r) << 2), load<f32>(from + q * stepK + r * stepRow));
  }
}

/** MR values each of kc stored rows. */
function copyRows(from: usize, stride: usize, kc: i32, to: usize): i32 {
  for (let q = 0; q < kc; q++, from += stride, to += MR << 2) {
    v128.store(to, v128.load(from));
    if (MR == 6) store<u64>(to, load<u64>(from, 16), 16);
    else store<f32>(to, load<f32>(from, 16), 16);
  }
  return kc;
}

/** kc values each of MR stored rows, as far as they go by fours. */
function transposeRows(from: usize, stride: usize, kc: i32, to: usize): i32 {
  const from1 = from + stride;
  const from2 = from1 + stride;
  const from3 = from2 + stride;
  const from4 = from3 + stride;
  const from5 = from4 + stride;
  const step = (<usize>MR) << 2;
  let q = 0;
  for (; q + 4 <= kc; q += 4, to += step << 2) {
    const at = (<usize>q) << 2;
    const v0 = v128.load(from + at);
    const v1 = v128.load(from1 + at);
    const v2 = v128.load(from2 + at);
    const v3 = v128.load(from3 + at);
    const v4 = v128.load(from4 + at);
    const a0 = i32x4.shuffle(v0, v1, 0, 4, 1, 5);
    const a1 = i32x4.shuffle(v2, v3, 0, 4, 1, 5);
    const b0 = i32x4.shuffle(v0, v1, 2, 6, 3, 7);
    const b1 = i32x4.shuffle(v2, v3, 2, 6, 3, 7);
    v128.store(to, i64x2.shuffle(a0, a1, 0, 2));
    v128.store(to + step, i64x2.shuffle(a0, a1, 1, 3));
    v128.store(to + 2 * step, i64x2.shuffle(b0, b1, 0, 2));
    v128.store(to + 3 * step, i64x2.shuffle(b0, b1, 1, 3));
    if (MR == 6) {
      const v5 = v128.load(from5 + at);
      const c0 = i32x4.shuffle(v4, v5, 0, 4, 1, 5);
      const c1 = i32x4.shuffle(v4, v5, 2, 6, 3, 7);
      v128.store64_lane(to, c0, 0, 16);
      v128.store64_lane(to + step, c0, 1, 16);
      v128.store64_lane(to + 2 * step, c1, 0, 16);
      v128.store64_lane(to + 3 * step, c1, 1, 16);
    } else {
      v128.store32_lane(to, v4, 0, 16);
      v128.store32_lane(to + step, v4, 1, 16);
      v128.store32_lane(to + 2 * step, v4, 2, 16);
      v128.store32_lane(to + 3 * step, v4, 3, 16);
    }
  }
  return q;
}

/** NR stored rows (fewer at an edge) to [kc][NR]. */
function transposePanel(from: usize, stride: usize, count: i32, kc: i32, to: usize): void {
  if (count < NR) memory.fill(to, 0, (kc * NR) << 2);
  for (let r = 0; r < count; r += 8) transposeEight(from + r * stride, stride, min(8, count - r), kc, to + (r << 2));
}

/** 8 stored rows (fewer at an edge) to 8 columns of [kc][NR]. */
function transposeEight(from: usize, stride: usize, count: i32, kc: i32, to: usize): void {
  const step: usize = NR << 2;
  let q = 0;
  if (count == 8) {
    for (; q + 4 <= kc; q += 4) {
      let at = to + q * step;
      let row = from + (q << 2);
      const v0 = v128.load(row);
      const v1 = v128.load((row += stride));
      const v2 = v128.load((row += stride));
      const v3 = v128.load((row += stride));
      const v4 = v128.load((row += stride));
      const v5 = v128.load((row += stride));
      const v6 = v128.load((row += stride));
      const v7 = v128.load((row += stride));
      const a0 = i32x4.shuffle(v0, v1, 0, 4, 1, 5);
      const a1 = i32x4.shuffle(v2, v3, 0, 4, 1, 5);
      const a2 = i32x4.shuffle(v4, v5, 0, 4, 1, 5);
      const a3 = i32x4.shuffle(v6, v7, 0, 4, 1, 5);
      v128.store(at, i64x2.shuffle(a0, a1, 0, 2));
      v128.store(at, i64x2.shuffle(a2, a3, 0, 2), 16);
      v128.store((at += step), i64x2.shuffle(a0, a1, 1, 3));
      v128.store(at, i64x2.shuffle(a2, a3, 1, 3), 16);
      const b0 = i32x4.shuffle(v0, v1, 2, 6, 3, 7);
      const b1 = i32x4.shuffle(v2, v3, 2, 6, 3, 7);
      const b2 = i32x4.shuffle(v4, v5, 2, 6, 3, 7);
      const b3 = i32x4.shuffle(v6, v7, 2, 6, 3, 7);
      v128.store((at += step), i64x2.shuffle(b0, b1, 0, 2));
      v128.store(at, i64x2.shuffle(b2, b3, 0, 2), 16);
      v128.store((at += step), i64x2.shuffle(b0, b1, 1, 3));
      v128.store(at, i64x2.shuffle(b2, b3, 1, 3), 16);
    }
  }
  for (; q < kc; q++) {
    for (let r = 0; r < count; r++) store<f32>(to + q * step + (r << 2), load<f32>(from + r * stride + (q << 2)));
  }
}

/** count stored rows of nc values into panels that are `length` rows long. */
function copyPanels(from: usize, stride: usize, count: i32, nc: i32, length: i32, to: usize): void {
  for (let j = 0; j < nc; j += NR) {
    let row = from + (j << 2);
    let at = to + ((j * length) << 2);
    if (nc - j >= NR) {
      for (let q = 0; q < count; q++, row += stride, at += NR << 2) {
        v128.store(at, v128.load(row));
        v128.store(at, v128.load(row, 16), 16);
        if (WIDE) {
          v128.store(at, v128.load(row, 32), 32);
          v128.store(at, v128.load(row, 48), 48);
        }
      }
    } else {
      for (let q = 0; q < count; q++, row += stride, at += NR << 2) {
        memory.fill(at, 0, NR << 2);
        for (let r = 0; r < nc - j; r++) store<f32>(at + (r << 2), load<f32>(row + (r << 2)));
      }
    }
  }
}
