// AssemblyScript. Pointers are byte offsets into the tfjs heap. Matrix product over packed panels, in the manner of Goto & van de
// Geijn 2008: panels of 8 columns and of 5 rows, cut along the summed dimension so that one of each stays in the first-level cache.
import { decode, setWeight } from '../nf4-dequantize/wasm';
import { madd, sumLanes } from '../runtime/simd';
export { setWeight };

const MR: i32 = 5;
const NR: i32 = 8;
/** Longest piece of the summed dimension. */
const KC: i32 = 384;
/** Up to this many rows, dot products beat panels: generation, one token at a time. */
const FEW_ROWS: i32 = 4;
/** Rows, and columns, whose panels are packed at a time. */
const MC: i32 = 100;
const NC: i32 = 384;
/** Bytes that describe a right operand of gemmParts. */
const PART: i32 = 72;

/** Bytes of scratch that a thread's part wants, 16-byte aligned. */
export function scratchBytes(): i32 {
  return (MC * KC + KC * NC + NR * KC + MR * NR + 16) << 2;
}

/**
 * c[i, j] = Σ_p alpha · a[i, p] · b[p, j], [rows, cols], of which this call makes the rows [begin, end); added to c when accumulate is 1,
 * to bias[j] unless that is 0. aColumns: 0 when a is stored as [rows, k], 1 when as [k, rows]. bKind: 0 stored as [cols, k], 1 as
 * [k, cols]; 2 and 3 are the same for the weight of setWeight. lda, ldb, ldc: elements from one stored row to the next.
 */
export function gemmRows(
  a: usize, lda: i32, aColumns: i32, b: usize, ldb: i32, bKind: i32, c: usize, ldc: i32, k: i32, alpha: f32, accumulate: i32, bias: usize,
  rows: i32, cols: i32, begin: i32, end: i32, scratch: usize,
): void {
  if (bias) fillRows(bias, c, ldc, begin, end, 0, cols);
  gemm(a, lda, aColumns, b, ldb, bKind, c, ldc, k, alpha, accumulate | i32(bias != 0), rows <= FEW_ROWS, begin, end, 0, cols, scratch);
}

/** gemmRows, but of the columns [begin, end). */
export function gemmColumns(
  a: usize, lda: i32, aColumns: i32, b: usize, ldb: i32, bKind: i32, c: usize, ldc: i32, k: i32, alpha: f32, accumulate: i32, bias: usize,
  rows: i32, cols: i32, begin: i32, end: i32, scratch: usize,
): void {
  if (bias) fillRows(bias, c, ldc, 0, rows, begin, end);
  gemm(a, lda, aColumns, b, ldb, bKind, c, ldc, k, alpha, accumulate | i32(bias != 0), rows <= FEW_ROWS, 0, rows, begin, end, scratch);
}

/** How an element is summed must not depend on the ranges: they depend on the number of threads. fewRows tells of all of c. */
function gemm(
  a: usize, lda: i32, aColumns: i32, b: usize, ldb: i32, bKind: i32, c: usize, ldc: i32, k: i32, alpha: f32, accumulate: i32,
  fewRows: bool, rowBegin: i32, rowEnd: i32, colBegin: i32, colEnd: i32, scratch: usize,
): void {
  const packedA = scratch;
  const packedB = packedA + ((MC * KC) << 2);
  const rows = packedB + ((KC * NC) << 2);
  const tile = rows + ((NR * KC) << 2);
  const table = tile + ((MR * NR) << 2);
  if (fewRows && !aColumns && !(bKind & 1)) {
    dots(a, lda, b, ldb, bKind, c, ldc, k, alpha, accumulate, rowBegin, rowEnd, colBegin, colEnd, rows, table);
    return;
  }
  const pieces = (k + KC - 1) / KC;
  const piece = (k + pieces - 1) / pieces;
  for (let col = colBegin; col < colEnd; col += NC) {
    const nc = min(NC, colEnd - col);
    for (let p = 0; p < k; p += piece) {
      const kc = min(piece, k - p);
      packColumns(b, ldb, bKind, p, kc, col, nc, packedB, rows, table);
      const add = accumulate | i32(p > 0);
      for (let row = rowBegin; row < rowEnd; row += MC) {
        const mc = min(MC, rowEnd - row);
        packRows(a, lda, aColumns, p, kc, row, mc, packedA);
        for (let j = 0; j < nc; j += NR) {
          const panelB = packedB + ((j * kc) << 2);
          const full = nc - j >= NR;
          for (let i = 0; i < mc; i += MR) {
            const panelA = packedA + ((i * kc) << 2);
            const at = c + (((row + i) * ldc + col + j) << 2);
            multiply(panelA, panelB, kc, tile);
            if (full && mc - i >= MR) putTile(tile, at, ldc << 2, alpha, add);
            else putCorner(tile, at, ldc << 2, min(MR, mc - i), min(NR, nc - j), alpha, add);
          }
        }
      }
    }
  }
}

/**
 * Products of one left operand with several right ones, side by side: rows of a are packed once for up to NC columns of all of them. parts
 * points to PART bytes each: b, ldb, bKind, c, ldc, columns, alpha (f32), accumulate, bias, then, for a 4-bit b, what setWeight takes.
 */
export function gemmParts(a: usize, lda: i32, aColumns: i32, k: i32, parts: usize, count: i32, begin: i32, end: i32, scratch: usize): void {
  const packedA = scratch;
  const packedB = packedA + ((MC * KC) << 2);
  const rows = packedB + ((KC * NC) << 2);
  const tile = rows + ((NR * KC) << 2);
  const table = tile + ((MR * NR) << 2);
  for (let i = 0; i < count; i++) {
    const part = parts + i * PART;
    const bias = load<i32>(part, 32);
    if (bias) fillRows(bias, load<i32>(part, 12), load<i32>(part, 16), begin, end, 0, load<i32>(part, 20));
  }
  const pieces = (k + KC - 1) / KC;
  const piece = (k + pieces - 1) / pieces;
  let first = 0, firstCol = 0;
  while (first < count) {
    // The block of columns [first, firstCol) to [last, lastCol): whole panels, NC columns at most.
    let last = first, lastCol = firstCol;
    for (let p = 0; p < k; p += piece) {
      const kc = min(piece, k - p);
      let panels = 0;
      last = first;
      lastCol = firstCol;
      while (last < count && panels < NC / NR) {
        const part = parts + last * PART;
        const cols = load<i32>(part, 20);
        const kind = load<i32>(part, 8);
        const nc = min((NC / NR - panels) * NR, cols - lastCol);
        if (kind > 1) setPart(part);
        packColumns(load<i32>(part), load<i32>(part, 4), kind, p, kc, lastCol, nc, packedB + ((panels * NR * kc) << 2), rows, table);
        panels += (nc + NR - 1) / NR;
        lastCol += nc;
        if (lastCol == cols) {
          last++;
          lastCol = 0;
        }
      }
      for (let row = begin; row < end; row += MC) {
        const mc = min(MC, end - row);
        packRows(a, lda, aColumns, p, kc, row, mc, packedA);
        let index = first, col = firstCol;
        for (let j = 0; j < panels; j++) {
          const part = parts + index * PART;
          const cols = load<i32>(part, 20);
          const ldc = load<i32>(part, 16);
          const alpha = load<f32>(part, 24);
          const add = load<i32>(part, 28) | i32(load<i32>(part, 32) != 0) | i32(p > 0);
          const panelB = packedB + ((j * NR * kc) << 2);
          const full = cols - col >= NR;
          for (let i = 0; i < mc; i += MR) {
            const at = load<i32>(part, 12) + (((row + i) * ldc + col) << 2);
            multiply(packedA + ((i * kc) << 2), panelB, kc, tile);
            if (full && mc - i >= MR) putTile(tile, at, ldc << 2, alpha, add);
            else putCorner(tile, at, ldc << 2, min(MR, mc - i), min(NR, cols - col), alpha, add);
          }
          col += NR;
          if (col >= cols) {
            index++;
            col = 0;
          }
        }
      }
    }
    first = last;
    firstCol = lastCol;
  }
}

function setPart(part: usize): void {
  setWeight(load<i32>(part, 36), load<i32>(part, 40), load<i32>(part, 44), load<i32>(part, 48), load<i32>(part, 52), load<i32>(part, 56), load<i32>(part, 60), load<f32>(part, 64), load<i32>(part, 68));
}

/** gemm with both operands along k: every row of b, decoded if need be, meets all rows of a. rows is scratch for decoded values, [8, KC]. */
function dots(
  a: usize, lda: i32, b: usize, ldb: i32, bKind: i32, c: usize, ldc: i32, k: i32, alpha: f32, accumulate: i32,
  rowBegin: i32, rowEnd: i32, colBegin: i32, colEnd: i32, rows: usize, table: usize,
): void {
  for (let col = colBegin; col < colEnd; col++) {
    for (let p = 0; p < k; p += NR * KC) {
      const length = min(NR * KC, k - p);
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
  let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
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

/** c[i, j] = bias[j]. */
function fillRows(bias: usize, c: usize, ldc: i32, rowBegin: i32, rowEnd: i32, colBegin: i32, colEnd: i32): void {
  for (let i = rowBegin; i < rowEnd; i++) memory.copy(c + ((i * ldc + colBegin) << 2), bias + (colBegin << 2), (colEnd - colBegin) << 2);
}

/** putTile where the tile reaches over an edge. */
function putCorner(tile: usize, c: usize, stride: usize, rows: i32, cols: i32, alpha: f32, add: i32): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) {
      const to = c + i * stride + (j << 2);
      const value = load<f32>(tile + ((i * NR + j) << 2)) * alpha;
      store<f32>(to, add ? load<f32>(to) + value : value);
    }
  }
}

/** Panels of 5 rows: [panel][p][5]; rows past the end are zero. */
function packRows(a: usize, lda: i32, aColumns: i32, p: i32, kc: i32, row: i32, mc: i32, to: usize): void {
  const stride = lda << 2;
  for (let i = 0; i < mc; i += MR) {
    const count = min(MR, mc - i);
    const panel = to + ((i * kc) << 2);
    if (count < MR) memory.fill(panel, 0, (kc * MR) << 2);
    if (aColumns) {
      let from = a + ((p * lda + row + i) << 2);
      let at = panel;
      if (count == MR) {
        for (let q = 0; q < kc; q++, from += stride, at += MR << 2) {
          v128.store(at, v128.load(from));
          store<f32>(at, load<f32>(from, 16), 16);
        }
      } else {
        for (let q = 0; q < kc; q++, from += stride, at += MR << 2) {
          for (let r = 0; r < count; r++) store<f32>(at + (r << 2), load<f32>(from + (r << 2)));
        }
      }
      continue;
    }
    const from = a + (((row + i) * lda + p) << 2);
    let q = 0;
    if (count == MR) {
      for (; q + 4 <= kc; q += 4) {
        const at = panel + ((q * MR) << 2);
        let row0 = from + (q << 2);
        const v0 = v128.load(row0);
        const v1 = v128.load((row0 += stride));
        const v2 = v128.load((row0 += stride));
        const v3 = v128.load((row0 += stride));
        const v4 = v128.load((row0 += stride));
        const a0 = i32x4.shuffle(v0, v1, 0, 4, 1, 5);
        const a1 = i32x4.shuffle(v2, v3, 0, 4, 1, 5);
        const b0 = i32x4.shuffle(v0, v1, 2, 6, 3, 7);
        const b1 = i32x4.shuffle(v2, v3, 2, 6, 3, 7);
        v128.store(at, i64x2.shuffle(a0, a1, 0, 2));
        v128.store32_lane(at, v4, 0, 16);
        v128.store(at, i64x2.shuffle(a0, a1, 1, 3), 20);
        v128.store32_lane(at, v4, 1, 36);
        v128.store(at, i64x2.shuffle(b0, b1, 0, 2), 40);
        v128.store32_lane(at, v4, 2, 56);
        v128.store(at, i64x2.shuffle(b0, b1, 1, 3), 60);
        v128.store32_lane(at, v4, 3, 76);
      }
    }
    for (; q < kc; q++) {
      for (let r = 0; r < count; r++) store<f32>(panel + ((q * MR + r) << 2), load<f32>(from + r * stride + (q << 2)));
    }
  }
}

/** Panels of 8 columns: [panel][p][8]; columns past the end are zero. rows is scratch for decoded values, [8, KC]. */
function packColumns(b: usize, ldb: i32, bKind: i32, p: i32, kc: i32, col: i32, nc: i32, to: usize, rows: usize, table: usize): void {
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

/** c = alpha · tile, or that added to c. */
function putTile(tile: usize, c: usize, stride: usize, alpha: f32, add: i32): void {
  const s = f32x4.splat(alpha);
  for (let i = 0; i < MR; i++, c += stride, tile += NR << 2) {
    let left = f32x4.mul(v128.load(tile), s);
    let right = f32x4.mul(v128.load(tile, 16), s);
    if (add) {
      left = f32x4.add(left, v128.load(c));
      right = f32x4.add(right, v128.load(c, 16));
    }
    v128.store(c, left);
    v128.store(c, right, 16);
  }
}

/**
 * A 5x8 tile, [5, 8] of sums: 10 accumulators, two vectors of b, one of a and one product are as many as fit into the 15 registers
 * that V8 has to give on x86. It keeps them there only where the function is this simple: a sixth row, a scale or a branch at the end, or
 * inlining (hence the export) make it spill, and cost a third of the speed.
 */
export function multiply(a: usize, b: usize, kc: i32, tile: usize): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  let c40 = f32x4.splat(0), c41 = f32x4.splat(0);
  for (let q = 0; q < kc; q++) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
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
    const x4 = v128.load32_splat(a, 16);
    c40 = madd(x4, b0, c40);
    c41 = madd(x4, b1, c41);
    a += MR << 2;
    b += NR << 2;
  }
  v128.store(tile, c00);
  v128.store(tile, c01, 16);
  v128.store(tile, c10, 32);
  v128.store(tile, c11, 48);
  v128.store(tile, c20, 64);
  v128.store(tile, c21, 80);
  v128.store(tile, c30, 96);
  v128.store(tile, c31, 112);
  v128.store(tile, c40, 128);
  v128.store(tile, c41, 144);
}
