// AssemblyScript. Pointers are byte offsets into the tfjs heap. Sums of matrix products, in the manner of Goto & van de
// Geijn 2008: columns of the right operand are packed into panels of NR, cut along the summed dimension, and MR rows of
// the left one at a time.
import { setWeight } from '../../nf4-dequantize/wasm.as';
import { dots } from './dot-products.as';
import { outer } from './outer-products.as';
import { MR, NR, packColumns, packRows, scalePanels } from './pack.as';
import { multiply, multiplyAdd, multiplyRows, multiplyRowsAdd } from './tile.as';

// What a module exports is not inlined.
export { multiply, multiplyAdd, multiplyRows, multiplyRowsAdd };

/** Longest piece of the summed dimension of a term. */
const KC: i32 = 384;
/** How much longer several pieces in a row may be: room for low-rank updates beside the last piece of a weight. */
const ROOM: i32 = 64;
/** Pieces in a row at most, and the bytes that describe one: its term, where it begins and how long it is. */
const PIECES: i32 = 16;
const PIECE: i32 = 12;
/**
 * Columns whose panels are packed at a time: with KC, what fits into the second-level cache beside rows of the results.
 */
const NC: i32 = 384;
/** Up to this many rows, dot products beat panels. */
const FEW_ROWS: i32 = 4;
/** Bytes that describe a term, and a result. */
const TERM: i32 = 72;
const RESULT: i32 = 32;

/** Columns of a panel. */
export function panelColumns(): i32 {
  return NR;
}

/** Bytes of scratch that a thread's part wants, 16-byte aligned. */
export function scratchBytes(): i32 {
  return ((KC + ROOM) * (NC + MR) + NR * KC + MR * NR + 16) * 4 + PIECES * PIECE;
}

/**
 * Results c = Σ over its terms of alpha · a · b, [rows, cols] each, added to c when accumulate, 1, is part of their
 * mode, to a bias [cols] where that is not 0. `results` points to RESULT bytes each: c, ldc, rows, cols, mode
 * (accumulate, 2 more where all terms have aColumns and bKind 1 and so few rows that panels do not pay, and then 4 more
 * where c is stored transposed), bias, where its terms are described, and how many they are. TERM bytes describe one:
 * a, lda, aColumns (1 when a is stored as [k, rows]), k, b, ldb, bKind (0 stored as [cols, k], 1 as [k, cols]; 2 and 3
 * are the same for a 4-bit weight), alpha (f32), and then what setWeight takes. lda, ldb, ldc: elements from one stored
 * row to the next.
 *
 * This call makes the rows [begin, end) of all results or, byColumns, the panels [begin, end) of them in a row.
 */
export function products(results: usize, count: i32, byColumns: i32, begin: i32, end: i32, scratch: usize): void {
  let before = 0;
  for (let i = 0; i < count; i++) {
    const result = results + i * RESULT;
    const rows = load<i32>(result, 8);
    const cols = load<i32>(result, 12);
    if (!byColumns) {
      multiplyRange(result, begin, end, 0, cols, scratch);
      continue;
    }
    const panels = (cols + NR - 1) / NR;
    const first = max(begin - before, 0);
    const last = min(end - before, panels);
    if (first < last) multiplyRange(result, 0, rows, first * NR, min(last * NR, cols), scratch);
    before += panels;
  }
}

/** How an element is summed must not depend on the range: that depends on the number of threads. */
function multiplyRange(result: usize, rowBegin: i32, rowEnd: i32, colBegin: i32, colEnd: i32, scratch: usize): void {
  const c = load<i32>(result);
  const ldc = load<i32>(result, 4);
  const few = load<i32>(result, 8) <= FEW_ROWS;
  const mode = load<i32>(result, 16);
  const bias = load<i32>(result, 20);
  const count = load<i32>(result, 28);
  if (bias) fillRows(bias, c, ldc, rowBegin, rowEnd, colBegin, colEnd);
  for (let col = colBegin; col < colEnd; col += NC) {
    const nc = min(NC, colEnd - col);
    let add = (mode & 1) | i32(bias != 0);
    const terms: usize = load<i32>(result, 24);
    if (!(mode & 2)) {
      addTerms(terms, count, c, ldc, add, few, rowBegin, rowEnd, col, nc, scratch);
      continue;
    }
    for (let term = terms; term < terms + count * TERM; term += TERM, add = 1)
      addOuter(term, c, ldc, mode >> 2, add, rowBegin, rowEnd, col, nc, scratch);
  }
}

/**
 * c = (or, with add, +=) what terms yield for these rows and up to NC columns. Pieces of terms that follow each other
 * are made as one product along all of their summed dimensions, as far as they fit: then c is read and written once for
 * them.
 */
function addTerms(
  term: usize,
  count: i32,
  c: usize,
  ldc: i32,
  add: i32,
  few: bool,
  rowBegin: i32,
  rowEnd: i32,
  col: i32,
  nc: i32,
  scratch: usize,
): void {
  const decoded = scratch + (((KC + ROOM) * (NC + MR)) << 2);
  const table = decoded + ((NR * KC + MR * NR) << 2);
  const pieces = table + 64;
  const end = term + count * TERM;
  let p = 0;
  while (term < end) {
    if (few && inOrder(term)) {
      const kind = load<i32>(term, 24);
      if (kind > 1) setTerm(term);
      const k = load<i32>(term, 12);
      dots(
        load<i32>(term),
        load<i32>(term, 4),
        load<i32>(term, 16),
        load<i32>(term, 20),
        kind,
        c,
        ldc,
        k,
        load<f32>(term, 28),
        add,
        rowBegin,
        rowEnd,
        col,
        col + nc,
        decoded,
        table,
      );
      term += TERM;
      add = 1;
      continue;
    }
    let length = 0;
    let n = 0;
    while (term < end && n < PIECES && !(few && inOrder(term))) {
      const k = load<i32>(term, 12);
      const parts = (k + KC - 1) / KC;
      const kc = min((k + parts - 1) / parts, k - p);
      if (n > 0 && length + kc > KC + ROOM) break;
      const piece = pieces + n++ * PIECE;
      store<i32>(piece, <i32>term);
      store<i32>(piece, p, 4);
      store<i32>(piece, kc, 8);
      length += kc;
      p += kc;
      if (p < k) continue;
      p = 0;
      term += TERM;
    }
    addPieces(pieces, n, length, c, ldc, add, rowBegin, rowEnd, col, nc, scratch);
    add = 1;
  }
}

/** Whether both operands of a term lie along the summed dimension. */
@inline
function inOrder(term: usize): bool {
  return !load<i32>(term, 8) && !(load<i32>(term, 24) & 1);
}

/** c = (or, with add, +=) what n pieces of terms, `length` long together, yield for these rows and up to NC columns. */
function addPieces(
  pieces: usize,
  n: i32,
  length: i32,
  c: usize,
  ldc: i32,
  add: i32,
  rowBegin: i32,
  rowEnd: i32,
  col: i32,
  nc: i32,
  scratch: usize,
): void {
  const packed = scratch;
  const rows = packed + (((KC + ROOM) * NC) << 2);
  const decoded = rows + (((KC + ROOM) * MR) << 2);
  const tile = decoded + ((NR * KC) << 2);
  const table = tile + ((MR * NR) << 2);
  const end = pieces + n * PIECE;
  let to = packed;
  for (let piece = pieces; piece < end; piece += PIECE) {
    const term: usize = load<i32>(piece);
    const kc = load<i32>(piece, 8);
    const kind = load<i32>(term, 24);
    const alpha = load<f32>(term, 28);
    if (kind > 1) setTerm(term);
    packColumns(
      load<i32>(term, 16),
      load<i32>(term, 20),
      kind,
      load<i32>(piece, 4),
      kc,
      col,
      nc,
      to,
      length,
      decoded,
      table,
    );
    if (alpha != 1) scalePanels(to, nc, kc, length, alpha);
    to += (kc * NR) << 2;
  }
  const first: usize = load<i32>(pieces);
  const lda = load<i32>(first, 4) << 2;
  // Interleaving rows takes a third of the time of one panel.
  const single = n == 1 && nc <= NR && !load<i32>(first, 8);
  const stride = ldc << 2;
  for (let row = rowBegin; row < rowEnd; row += MR) {
    const count = min(MR, rowEnd - row);
    let at = c + ((row * ldc + col) << 2);
    if (single && count == MR) {
      const from = load<i32>(first) + row * lda + (load<i32>(pieces, 4) << 2);
      if (add) {
        getCorner(at, stride, tile, MR, nc);
        multiplyRowsAdd(from, lda, packed, length, tile, NR << 2);
      } else multiplyRows(from, lda, packed, length, tile, NR << 2);
      putCorner(tile, at, stride, MR, nc);
      continue;
    }
    to = rows;
    for (let piece = pieces; piece < end; piece += PIECE) {
      const term: usize = load<i32>(piece);
      const kc = load<i32>(piece, 8);
      packRows(load<i32>(term), load<i32>(term, 4), load<i32>(term, 8), load<i32>(piece, 4), kc, row, count, to);
      to += (kc * MR) << 2;
    }
    let panel = packed;
    for (let j = 0; j < nc; j += NR, panel += (length * NR) << 2, at += NR << 2) {
      const cols = min(NR, nc - j);
      const whole = count == MR && cols == NR;
      const result = whole ? at : tile;
      const step = whole ? stride : NR << 2;
      if (add) {
        if (!whole) getCorner(at, stride, tile, count, cols);
        multiplyAdd(rows, panel, length, result, step);
      } else multiply(rows, panel, length, result, step);
      if (!whole) putCorner(tile, at, stride, count, cols);
    }
  }
}

/** What one term yields for a result of few rows. */
function addOuter(
  term: usize,
  c: usize,
  ldc: i32,
  transposed: i32,
  add: i32,
  rowBegin: i32,
  rowEnd: i32,
  col: i32,
  nc: i32,
  tile: usize,
): void {
  const a = load<i32>(term) + (rowBegin << 2);
  const to = c + ((transposed ? rowBegin : rowBegin * ldc) << 2);
  outer(
    a,
    load<i32>(term, 4),
    rowEnd - rowBegin,
    load<i32>(term, 16),
    load<i32>(term, 20),
    col,
    nc,
    load<i32>(term, 12),
    load<f32>(term, 28),
    to,
    ldc,
    transposed,
    add,
    tile,
  );
}

function setTerm(term: usize): void {
  setWeight(
    load<i32>(term, 32),
    load<i32>(term, 36),
    load<i32>(term, 40),
    load<i32>(term, 44),
    load<i32>(term, 48),
    load<i32>(term, 52),
    load<i32>(term, 56),
    load<f32>(term, 60),
    load<i32>(term, 64),
  );
}

/** c[i, j] = bias[j]. */
function fillRows(bias: usize, c: usize, ldc: i32, rowBegin: i32, rowEnd: i32, colBegin: i32, colEnd: i32): void {
  for (let i = rowBegin; i < rowEnd; i++)
    memory.copy(c + ((i * ldc + colBegin) << 2), bias + (colBegin << 2), (colEnd - colBegin) << 2);
}

/**
 * The corner of a tile, which sums begin with: an element must be summed in the same order whether its tile is whole or
 * not, which depends on the range.
 */
function getCorner(c: usize, stride: usize, tile: usize, rows: i32, cols: i32): void {
  for (let i = 0; i < rows; i++) copyRow(c + i * stride, tile + ((i * NR) << 2), cols);
}

/** c = the corner of a tile. */
function putCorner(tile: usize, c: usize, stride: usize, rows: i32, cols: i32): void {
  for (let i = 0; i < rows; i++) copyRow(tile + ((i * NR) << 2), c + i * stride, cols);
}

@inline
function copyRow(from: usize, to: usize, count: i32): void {
  let j = 0;
  for (; j + 4 <= count; j += 4) v128.store(to + (j << 2), v128.load(from + (j << 2)));
  for (; j < count; j++) store<f32>(to + (j << 2), load<f32>(from + (j << 2)));
}
