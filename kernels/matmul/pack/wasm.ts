// AssemblyScript. Operands of a product in the order in which its inner loop reads them.
import { decode } from '../../nf4-dequantize/wasm';

/** Rows and columns of a tile. */
export const MR: i32 = 5;
export const NR: i32 = 8;

/** Panels of 8 columns: [panel][p][8]; columns past the end are zero. rows is scratch for decoded values, 8 · max(kc, nc) of them. */
export function packColumns(b: usize, ldb: i32, bKind: i32, p: i32, kc: i32, col: i32, nc: i32, to: usize, rows: usize, table: usize): void {
  if (bKind == 0) {
    for (let j = 0; j < nc; j += NR) {
      transposePanel(b + (((col + j) * ldb + p) << 2), ldb << 2, min(NR, nc - j), kc, to + ((j * kc) << 2));
    }
  } else if (bKind == 2) {
    for (let j = 0; j < nc; j += NR) {
      const count = min(NR, nc - j);
      for (let r = 0; r < count; r++) decode((col + j + r) * ldb + p, kc, rows + ((r * kc) << 2), table);
      transposePanel(rows, kc << 2, count, kc, to + ((j * kc) << 2));
    }
  } else if (bKind == 1) {
    copyPanels(b + ((p * ldb + col) << 2), ldb << 2, kc, nc, kc, to);
  } else {
    for (let q = 0; q < kc; q += NR) {
      const count = min(NR, kc - q);
      for (let r = 0; r < count; r++) decode((p + q + r) * ldb + col, nc, rows + ((r * nc) << 2), table);
      copyPanels(rows, nc << 2, count, nc, kc, to + ((q * NR) << 2));
    }
  }
}

/** Panels of `values` values in all, times alpha. */
export function scalePanels(panels: usize, values: i32, alpha: f32): void {
  const s = f32x4.splat(alpha);
  for (const end = panels + (values << 2); panels < end; panels += 16) v128.store(panels, f32x4.mul(v128.load(panels), s));
}

/** count rows [row, row + count) of a, from p on, as [5][kc]; rows past count are zero. aColumns: a is stored as [k, rows]. */
export function packRows(a: usize, lda: i32, aColumns: i32, p: i32, kc: i32, row: i32, count: i32, to: usize): void {
  const step = <usize>kc << 2;
  if (count < MR) memory.fill(to + count * step, 0, (MR - count) * step);
  if (!aColumns) {
    for (let r = 0; r < count; r++) memory.copy(to + r * step, a + (((row + r) * lda + p) << 2), step);
    return;
  }
  const stride = <usize>lda << 2;
  let from = a + ((p * lda + row) << 2);
  let q = 0;
  if (count == MR) {
    for (; q + 4 <= kc; q += 4, from += stride << 2, to += 16) {
      const from1 = from + stride;
      const from2 = from1 + stride;
      const from3 = from2 + stride;
      const v0 = v128.load(from);
      const v1 = v128.load(from1);
      const v2 = v128.load(from2);
      const v3 = v128.load(from3);
      const a0 = i32x4.shuffle(v0, v1, 0, 4, 1, 5);
      const a1 = i32x4.shuffle(v2, v3, 0, 4, 1, 5);
      const b0 = i32x4.shuffle(v0, v1, 2, 6, 3, 7);
      const b1 = i32x4.shuffle(v2, v3, 2, 6, 3, 7);
      let at = to;
      v128.store(at, i64x2.shuffle(a0, a1, 0, 2));
      v128.store((at += step), i64x2.shuffle(a0, a1, 1, 3));
      v128.store((at += step), i64x2.shuffle(b0, b1, 0, 2));
      v128.store((at += step), i64x2.shuffle(b0, b1, 1, 3));
      at += step;
      store<f32>(at, load<f32>(from, 16));
      store<f32>(at, load<f32>(from1, 16), 4);
      store<f32>(at, load<f32>(from2, 16), 8);
      store<f32>(at, load<f32>(from3, 16), 12);
    }
  }
  for (; q < kc; q++, from += stride, to += 4) {
    for (let r = 0; r < count; r++) store<f32>(to + r * step, load<f32>(from + (r << 2)));
  }
}

/** 8 stored rows (fewer at an edge) to [kc][8]. */
function transposePanel(from: usize, stride: usize, count: i32, kc: i32, to: usize): void {
  let q = 0;
  if (count == NR) {
    for (; q + 4 <= kc; q += 4) {
      const at = to + (q << 5);
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
      v128.store(at, i64x2.shuffle(a0, a1, 1, 3), 32);
      v128.store(at, i64x2.shuffle(a2, a3, 1, 3), 48);
      const b0 = i32x4.shuffle(v0, v1, 2, 6, 3, 7);
      const b1 = i32x4.shuffle(v2, v3, 2, 6, 3, 7);
      const b2 = i32x4.shuffle(v4, v5, 2, 6, 3, 7);
      const b3 = i32x4.shuffle(v6, v7, 2, 6, 3, 7);
      v128.store(at, i64x2.shuffle(b0, b1, 0, 2), 64);
      v128.store(at, i64x2.shuffle(b2, b3, 0, 2), 80);
      v128.store(at, i64x2.shuffle(b0, b1, 1, 3), 96);
      v128.store(at, i64x2.shuffle(b2, b3, 1, 3), 112);
    }
  } else {
    memory.fill(to, 0, kc << 5);
  }
  for (; q < kc; q++) {
    for (let r = 0; r < count; r++) store<f32>(to + (q << 5) + (r << 2), load<f32>(from + r * stride + (q << 2)));
  }
}

/** count stored rows of nc values into panels that are kc rows long. */
function copyPanels(from: usize, stride: usize, count: i32, nc: i32, kc: i32, to: usize): void {
  for (let j = 0; j < nc; j += NR) {
    let row = from + (j << 2);
    let at = to + ((j * kc) << 2);
    if (nc - j >= NR) {
      for (let q = 0; q < count; q++, row += stride, at += 32) {
        v128.store(at, v128.load(row));
        v128.store(at, v128.load(row, 16), 16);
      }
    } else {
      for (let q = 0; q < count; q++, row += stride, at += 32) {
        v128.store(at, f32x4.splat(0));
        v128.store(at, f32x4.splat(0), 16);
        for (let r = 0; r < nc - j; r++) store<f32>(at + (r << 2), load<f32>(row + (r << 2)));
      }
    }
  }
}
