// AssemblyScript. Attention by tiles of QUERIES × KEYS scores, each held as [key][query] so that the softmax over the
// keys runs along SIMD lanes. Pointers are byte offsets into the tfjs heap; all scratch comes from the caller. Larger
// than other kernels: forward and backward share the packing of heads, the visible ranges and the products.
import {
  EXP_TABLE,
  expWithin,
  fillExpTable,
  lowestExponent,
  madd,
  storeExpWithin,
  sumLanes,
  WIDE,
} from '../runtime/wasm/simd.as';
import {
  addAcross,
  addAcross16,
  addAlong,
  addAlong16,
  GROUP,
  KEYS,
  PANEL,
  QUERIES,
  scoreTile,
  scoreTile16,
  SCORE_ROW,
} from './tiles.as';

const NONE: f32 = -1e30;

// One call's sizes. An instance of the module serves one call at a time.
let batch: i32,
  queryLength: i32,
  keyLength: i32,
  numHeads: i32,
  numKvHeads: i32,
  dim: i32,
  window: i32,
  half: i32,
  maxPosition: i32;
let hasStarts: bool;
let scale: f32;
let cosTable: usize, sinTable: usize, startsAt: usize;
/** headDim rounded up to a multiple of 8, bytes of a row and of a tile of keys of that width. */
let width: i32, rowBytes: usize, tileBytes: usize;
// Scratch. Operands of the products lie in panels, so that inner loops read memory in order: across as [PANEL keys or
// GROUP queries][dimension] transposed, for the scores, and along as [8 dimensions][key or query], for what the weights
// multiply.
let keysAcross: usize, keysAlong: usize, valuesAcross: usize, valuesAlong: usize, dKeys: usize, dValues: usize;
let queriesAcross: usize, queriesAlong: usize, outAcross: usize, outAlong: usize, accumulator: usize, rows: usize;
let scores: usize, dScores: usize, lows: usize, highs: usize, peaks: usize, sums: usize, dots: usize, expTable: usize;
// Ranges of the tile at hand, one entry per 8 queries (see `boundTile`).
let rangeLow: usize, rangeHigh: usize, rangeFullLow: usize, rangeFullHigh: usize;

/** Bytes of scratch that one call of `forward` or `backward` needs. */
export function scratchBytes(keys: i32, headDim: i32): usize {
  const tiles = (keys + KEYS - 1) / KEYS;
  const w = (headDim + 7) & ~7;
  return (
    <usize>((6 * tiles * KEYS * w + 5 * QUERIES * w + KEYS * w + 2 * QUERIES * KEYS + 6 * QUERIES + 64) << 2) +
    EXP_TABLE +
    16
  );
}

/** Sets the sizes of the next calls of `forward` and `backward`. */
export function setup(
  batch_: i32,
  queryLength_: i32,
  keyLength_: i32,
  numHeads_: i32,
  numKvHeads_: i32,
  headDim: i32,
  scale_: f32,
  window_: i32,
  rotaryDim: i32,
  maxPosition_: i32,
  hasStarts_: i32,
  cos: usize,
  sin: usize,
  starts: usize,
  scratch: usize,
): void {
  batch = batch_;
  queryLength = queryLength_;
  keyLength = keyLength_;
  numHeads = numHeads_;
  numKvHeads = numKvHeads_;
  dim = headDim;
  scale = scale_;
  window = window_;
  half = rotaryDim >> 1;
  maxPosition = maxPosition_;
  hasStarts = hasStarts_ != 0;
  cosTable = cos;
  sinTable = sin;
  startsAt = starts;
  width = (dim + 7) & ~7;
  rowBytes = (<usize>width) << 2;
  tileBytes = rowBytes * KEYS;
  const all = tileBytes * ((keyLength + KEYS - 1) / KEYS);
  let at = scratch;
  keysAcross = at;
  at += all;
  keysAlong = at;
  at += all;
  valuesAcross = at;
  at += all;
  valuesAlong = at;
  at += all;
  dKeys = at;
  at += all;
  dValues = at;
  at += all;
  const queries = rowBytes * QUERIES;
  queriesAcross = at;
  at += queries;
  queriesAlong = at;
  at += queries;
  outAcross = at;
  at += queries;
  outAlong = at;
  at += queries;
  accumulator = at;
  at += queries;
  rows = at;
  at += tileBytes;
  scores = at;
  at += SCORE_ROW * KEYS;
  dScores = at;
  at += SCORE_ROW * KEYS;
  lows = at;
  at += QUERIES << 2;
  highs = at;
  at += QUERIES << 2;
  peaks = at;
  at += QUERIES << 2;
  sums = at;
  at += QUERIES << 2;
  dots = at;
  at += QUERIES << 2;
  rangeLow = at;
  at += 32;
  rangeHigh = at;
  at += 32;
  rangeFullLow = at;
  at += 32;
  rangeFullHigh = at;
  at += 32;
  expTable = at;
  fillExpTable(expTable);
  store<f32>(expTable, NONE, EXP_TABLE);
}

/** o and lse of the key heads begin..end of the batch · numKvHeads, with all query heads that share them. */
export function forward(q: usize, k: usize, v: usize, o: usize, lse: usize, begin: i32, end: i32): void {
  const groups = numHeads / numKvHeads;
  for (let pair = begin; pair < end; pair++) {
    const b = pair / numKvHeads;
    const kvHead = pair % numKvHeads;
    packKeyHead(k, b, kvHead, half, true, keysAcross, 0);
    packKeyHead(v, b, kvHead, 0, false, 0, valuesAlong);
    for (let head = kvHead * groups; head < (kvHead + 1) * groups; head++) {
      for (let i0 = 0; i0 < queryLength; i0 += QUERIES) {
        const count = min(QUERIES, queryLength - i0);
        packQueries(q, b, head, i0, count, half, scale, queriesAcross, 0);
        const tiles = boundTile(b, i0, count);
        attend(count, <i32>(tiles >> 32), <i32>tiles);
        storeTile(o, lse, b, head, i0, count);
      }
    }
  }
}

/** dq, dk, dv of the key heads begin..end, from the gradient dy of o. */
export function backward(
  dy: usize,
  q: usize,
  k: usize,
  v: usize,
  o: usize,
  lse: usize,
  dq: usize,
  dk: usize,
  dv: usize,
  begin: i32,
  end: i32,
): void {
  const groups = numHeads / numKvHeads;
  for (let pair = begin; pair < end; pair++) {
    const b = pair / numKvHeads;
    const kvHead = pair % numKvHeads;
    packKeyHead(k, b, kvHead, half, true, keysAcross, keysAlong);
    packKeyHead(v, b, kvHead, 0, false, valuesAcross, 0);
    memory.fill(dKeys, 0, <usize>((keyLength + PANEL - 1) & -PANEL) * rowBytes);
    memory.fill(dValues, 0, <usize>((keyLength + PANEL - 1) & -PANEL) * rowBytes);
    for (let head = kvHead * groups; head < (kvHead + 1) * groups; head++) {
      for (let i0 = 0; i0 < queryLength; i0 += QUERIES) {
        const count = min(QUERIES, queryLength - i0);
        packQueries(q, b, head, i0, count, half, scale, queriesAcross, queriesAlong);
        packQueries(dy, b, head, i0, count, 0, 1, outAcross, outAlong);
        loadSums(o, lse, b, head, i0, count);
        const tiles = boundTile(b, i0, count);
        memory.fill(accumulator, 0, rowBytes * QUERIES);
        for (let t = <i32>(tiles >> 32); t <= <i32>tiles; t++) differentiateTile(t, count);
        touch(queryRow(dq, b, head, i0), numHeads, count);
        for (let i = 0; i < count; i++) {
          const to = queryRow(dq, b, head, i0 + i);
          turn(accumulator + i * rowBytes, to, b, keyLength - queryLength + i0 + i, half, scale, true);
        }
      }
    }
    storeKeys(dKeys, dk, b, kvHead, half);
    storeKeys(dValues, dv, b, kvHead, 0);
  }
}

/** Where a head's query i, or key j, lies in a tensor. */
@inline
function queryRow(x: usize, b: i32, head: i32, i: i32): usize {
  return x + ((((b * queryLength + i) * numHeads + head) * dim) << 2);
}

@inline
function keyRow(x: usize, b: i32, kvHead: i32, j: i32): usize {
  return x + ((((b * keyLength + j) * numKvHeads + kvHead) * dim) << 2);
}

/**
 * Copies `dim` values times `factor`, the first 2·turned of them rotated by the angles of token `index` (`back`: by the
 * opposite).
 */
function turn(from: usize, to: usize, b: i32, index: i32, turned: i32, factor: f32, back: bool): void {
  const f = f32x4.splat(factor);
  let i = 0;
  if (turned > 0) {
    let position = index;
    if (hasStarts) position -= load<i32>(startsAt + ((b * keyLength + index) << 2));
    position = max(0, min(position, maxPosition - 1));
    const cos = cosTable + ((position * turned) << 2);
    const sin = sinTable + ((position * turned) << 2);
    const sign: f32 = back ? -1 : 1;
    const signs = f32x4.splat(sign);
    const high = turned << 2;
    for (; i + 8 <= turned; i += 8) {
      const at = i << 2;
      const c0 = v128.load(cos + at);
      const c1 = v128.load(cos + at, 16);
      const s0 = f32x4.mul(signs, v128.load(sin + at));
      const s1 = f32x4.mul(signs, v128.load(sin + at, 16));
      const x0 = f32x4.mul(f, v128.load(from + at));
      const x1 = f32x4.mul(f, v128.load(from + at, 16));
      const y0 = f32x4.mul(f, v128.load(from + high + at));
      const y1 = f32x4.mul(f, v128.load(from + high + at, 16));
      v128.store(to + at, f32x4.sub(f32x4.mul(x0, c0), f32x4.mul(y0, s0)));
      v128.store(to + at, f32x4.sub(f32x4.mul(x1, c1), f32x4.mul(y1, s1)), 16);
      v128.store(to + high + at, f32x4.add(f32x4.mul(y0, c0), f32x4.mul(x0, s0)));
      v128.store(to + high + at, f32x4.add(f32x4.mul(y1, c1), f32x4.mul(x1, s1)), 16);
    }
    for (; i + 4 <= turned; i += 4) {
      const at = i << 2;
      const c = v128.load(cos + at);
      const s = f32x4.mul(signs, v128.load(sin + at));
      const x = f32x4.mul(f, v128.load(from + at));
      const y = f32x4.mul(f, v128.load(from + high + at));
      v128.store(to + at, f32x4.sub(f32x4.mul(x, c), f32x4.mul(y, s)));
      v128.store(to + high + at, f32x4.add(f32x4.mul(y, c), f32x4.mul(x, s)));
    }
    for (; i < turned; i++) {
      const at = i << 2;
      const c = load<f32>(cos + at);
      const s = sign * load<f32>(sin + at);
      const x = factor * load<f32>(from + at);
      const y = factor * load<f32>(from + high + at);
      store<f32>(to + at, x * c - y * s);
      store<f32>(to + high + at, y * c + x * s);
    }
    i = 2 * turned;
  }
  const end = dim;
  for (; i + 8 <= end; i += 8) {
    const at = i << 2;
    const x0 = f32x4.mul(f, v128.load(from + at));
    const x1 = f32x4.mul(f, v128.load(from + at, 16));
    v128.store(to + at, x0);
    v128.store(to + at, x1, 16);
  }
  for (; i < end; i++) store<f32>(to + (i << 2), factor * load<f32>(from + (i << 2)));
}

/**
 * Reads a word of each cache line of `count` rows of a head, one of `heads`: what is in no near cache then comes many
 * lines at a time.
 */
function touch(row: usize, heads: i32, count: i32): void {
  const bytes = dim << 2;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    for (let d = 0; d < bytes; d += 64) sum |= load<i32>(row + d);
    row += heads * bytes;
  }
  // Nobody reads it, but a load whose value goes nowhere may be left out.
  store<i32>(expTable, sum, EXP_TABLE + 4);
}

@inline
function clearRows(from: i32, to: i32): void {
  if (from < to) memory.fill(rows + from * rowBytes, 0, <usize>(to - from) * rowBytes);
}

@inline
function clearTail(row: usize): void {
  for (let i = dim; i < width; i++) store<f32>(row + (i << 2), 0);
}

/**
 * Puts NaN in place of what is infinite in the first `count` rows: a score of −∞ would only take its key's weight away.
 */
function spoilInfinite(count: i32): void {
  const zero = f32x4.splat(0);
  const end = rows + count * rowBytes;
  for (let at = rows; at < end; at += 32) {
    const x = v128.load(at);
    const y = v128.load(at, 16);
    const x1 = madd(x, zero, x);
    const y1 = madd(y, zero, y);
    v128.store(at, x1);
    v128.store(at, y1, 16);
  }
}

/** One key or value head, tile by tile, in the panels that are not 0. What lies past the last key is zero. */
function packKeyHead(x: usize, b: i32, kvHead: i32, turned: i32, keys: bool, across: usize, along: usize): void {
  for (let j0 = 0; j0 < keyLength; j0 += KEYS) {
    const count = min(KEYS, keyLength - j0);
    touch(keyRow(x, b, kvHead, j0), numKvHeads, count);
    for (let j = 0; j < count; j++) {
      const row = rows + j * rowBytes;
      turn(keyRow(x, b, kvHead, j0 + j), row, b, j0 + j, turned, 1, false);
      clearTail(row);
    }
    if (keys) spoilInfinite(count);
    const padded = (count + PANEL - 1) & -PANEL;
    clearRows(count, padded);
    if (across != 0) packAcross(across + j0 * rowBytes, padded, PANEL);
    if (along != 0) packAlong(along + j0 * rowBytes, padded, KEYS);
  }
}

/**
 * The queries i0..i0+count of a head times `factor`, in panels; they stay in `rows` as well. What lies past the last
 * query is zero.
 */
function packQueries(
  x: usize,
  b: i32,
  head: i32,
  i0: i32,
  count: i32,
  turned: i32,
  factor: f32,
  across: usize,
  along: usize,
): void {
  touch(queryRow(x, b, head, i0), numHeads, count);
  for (let i = 0; i < count; i++) {
    const row = rows + i * rowBytes;
    turn(queryRow(x, b, head, i0 + i), row, b, keyLength - queryLength + i0 + i, turned, factor, false);
    clearTail(row);
  }
  const padded = (count + 7) & ~7;
  clearRows(count, padded);
  packAcross(across, padded, GROUP);
  if (along != 0) packAlong(along, padded, QUERIES);
}

/** `rows` [count][width] to panels [count / panel][width][panel]; panel is 4, 8 or 16. */
function packAcross(to: usize, count: i32, panel: i32): void {
  const step = (<usize>panel) << 2;
  for (let i = 0; i < count; i += 4) {
    const from = rows + i * rowBytes;
    const out = to + (i & ~(panel - 1)) * rowBytes + ((i & (panel - 1)) << 2);
    for (let d = 0; d < width; d += 4) {
      const at = from + (d << 2);
      const a = v128.load(at);
      const b = v128.load(at + rowBytes);
      const c = v128.load(at + 2 * rowBytes);
      const e = v128.load(at + 3 * rowBytes);
      const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
      const ce = v128.shuffle<f32>(c, e, 0, 4, 1, 5);
      const ab2 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
      const ce2 = v128.shuffle<f32>(c, e, 2, 6, 3, 7);
      const put = out + d * step;
      v128.store(put, v128.shuffle<f32>(ab, ce, 0, 1, 4, 5));
      v128.store(put + step, v128.shuffle<f32>(ab, ce, 2, 3, 6, 7));
      v128.store(put + 2 * step, v128.shuffle<f32>(ab2, ce2, 0, 1, 4, 5));
      v128.store(put + 3 * step, v128.shuffle<f32>(ab2, ce2, 2, 3, 6, 7));
    }
  }
}

/** `rows` [count][width] to panels [width / 8][size][8]. */
function packAlong(to: usize, count: i32, size: i32): void {
  for (let i = 0; i < count; i++) {
    let from = rows + i * rowBytes;
    const end = from + rowBytes;
    for (let put = to + (i << 5); from < end; put += size << 5) {
      v128.store(put, v128.load(from));
      v128.store(put, v128.load(from, 16), 16);
      from += 32;
    }
  }
}

/**
 * The keys that each query of the tile sees (lows[i] ≤ key ≤ highs[i]), and over every 8 queries the keys that any
 * (rangeLow..rangeHigh) and that all of them see (rangeFullLow..rangeFullHigh). Returns first tile << 32 | last tile.
 */
function boundTile(b: i32, i0: i32, count: i32): u64 {
  const padded = (count + 7) & ~7;
  let lowest = keyLength;
  let highest = 0;
  for (let c = ((padded >> 3) - 1) << 2; c >= 0; c -= 4) {
    let anyLow = keyLength;
    let anyHigh = -1;
    let allLow = 0;
    let allHigh = keyLength;
    for (let i = c << 1; i < (c << 1) + 8; i++) {
      const p = keyLength - queryLength + i0 + i;
      let low = keyLength;
      let high = -1;
      if (i < count) {
        low = max(p - window + 1, 0);
        if (hasStarts) low = max(low, load<i32>(startsAt + ((b * keyLength + p) << 2)));
        high = p;
      }
      store<i32>(lows + (i << 2), low);
      store<i32>(highs + (i << 2), high);
      allLow = max(allLow, low);
      allHigh = min(allHigh, high);
      anyLow = min(anyLow, low);
      anyHigh = max(anyHigh, high);
    }
    // Later queries never begin below earlier ones here: the queries that see a key are then one range.
    lowest = min(lowest, anyLow);
    highest = max(highest, anyHigh);
    store<i32>(rangeLow + c, lowest);
    store<i32>(rangeHigh + c, anyHigh);
    store<i32>(rangeFullLow + c, allLow);
    store<i32>(rangeFullHigh + c, allHigh);
  }
  return ((<u64>(lowest / KEYS)) << 32) | (<u64>(highest / KEYS));
}

/** First row of the key tile at k0 that the 8 queries `c >> 2` read, a multiple of PANEL. */
@inline
function firstRow(c: i32, k0: i32): i32 {
  return max(load<i32>(rangeLow + c) - k0, 0) & -PANEL;
}

/** One past the last such row. */
@inline
function lastRow(c: i32, k0: i32): i32 {
  return (max(min(load<i32>(rangeHigh + c) + 1 - k0, KEYS), 0) + PANEL - 1) & -PANEL;
}

/**
 * eˣ for x ≤ 88; 1e-38 instead of anything smaller. NaN stays NaN: `pmax` gives back a NaN that is its first operand.
 */
@inline
function exponential(x: v128): v128 {
  return expWithin(f32x4.pmax(x, lowestExponent(expTable)), expTable);
}

@inline
function noScore(): v128 {
  return v128.load32_splat(expTable, EXP_TABLE);
}

/** The accumulator (o before its division), peaks and sums of the packed query tile over the key tiles first..last. */
function attend(count: i32, first: i32, last: i32): void {
  const blocks = ((count + 7) >> 3) << 2;
  memory.fill(accumulator, 0, rowBytes * QUERIES);
  memory.fill(sums, 0, QUERIES << 2);
  for (let i = 0; i < QUERIES; i += 4) v128.store(peaks + (i << 2), f32x4.splat(NONE));
  for (let t = first; t <= last; t++) {
    const k0 = t * KEYS;
    multiplyScores(keysAcross + t * tileBytes, queriesAcross, scores, k0, blocks);
    for (let c = 0; c < blocks; c += 4) {
      const low = firstRow(c, k0);
      const high = lastRow(c, k0);
      if (low >= high) continue;
      softmaxBlock(c, k0, low, high, t > first);
      const weights = scores + low * SCORE_ROW + (c << 3);
      const out = accumulator + (c << 1) * rowBytes;
      const values = valuesAlong + t * tileBytes + (low << 5);
      productAcross(weights, values, out, high - low);
      productAcross(weights + 16, values, out + 4 * rowBytes, high - low);
    }
  }
}

/** scores[key][query] = key · query for the rows of the tile at k0 that each 8 of the queries read. */
function multiplyScores(tile: usize, queries: usize, to: usize, k0: i32, blocks: i32): void {
  for (let c = 0; c < blocks; c += 4) {
    const b = queries + ((c << 1) & -GROUP) * rowBytes + ((c << 3) & ((GROUP << 2) - 1));
    const low = firstRow(c, k0);
    const high = lastRow(c, k0);
    let from = KEYS;
    let end = KEYS;
    const other = c ^ 4;
    if (WIDE && other < blocks) {
      // Rows that both halves of a panel of queries read: with the first half.
      from = max(low, firstRow(other, k0));
      end = min(high, lastRow(other, k0));
      if (c < other) {
        for (let r = from; r < end; r += 4)
          scoreTile16(tile + (r & -PANEL) * rowBytes + ((r & 4) << 2), b, to + r * SCORE_ROW + (c << 3), dim);
      }
    }
    for (let r = low; r < high; r += PANEL) {
      if (r < from || r >= end) scoreTile(tile + r * rowBytes, b, to + r * SCORE_ROW + (c << 3), dim);
    }
  }
}

/**
 * Puts NONE in place of scores of keys that a query does not see, in the rows low..high of the tile and the 8 queries
 * `c >> 2`.
 */
function hideUnseen(c: i32, k0: i32, low: i32, high: i32): void {
  const from = min(max(load<i32>(rangeFullLow + c) - k0, low), high);
  const to = min(max(load<i32>(rangeFullHigh + c) + 1 - k0, from), high);
  hideRows(c << 3, k0, low, from);
  hideRows(c << 3, k0, to, high);
}

@inline
function hideRows(at: usize, k0: i32, from: i32, to: i32): void {
  const low = lows + at;
  const high = highs + at;
  for (let r = from; r < to; r++) {
    const row = scores + r * SCORE_ROW + at;
    const key = i32x4.splat(k0 + r);
    const sees0 = v128.and(i32x4.le_s(v128.load(low), key), i32x4.le_s(key, v128.load(high)));
    const sees1 = v128.and(i32x4.le_s(v128.load(low, 16), key), i32x4.le_s(key, v128.load(high, 16)));
    const s0 = v128.bitselect(v128.load(row), noScore(), sees0);
    const s1 = v128.bitselect(v128.load(row, 16), noScore(), sees1);
    v128.store(row, s0);
    v128.store(row, s1, 16);
  }
}

/** Turns the scores of 8 queries into e^(score − peak), 0 where they are NONE; a NaN stays one. */
@inline
function weigh(row: usize, peak0: v128, peak1: v128): void {
  const s0 = v128.load(row);
  const s1 = v128.load(row, 16);
  const lowest = lowestExponent(expTable);
  const none = noScore();
  const x0 = f32x4.pmax(f32x4.sub(s0, peak0), lowest);
  const x1 = f32x4.pmax(f32x4.sub(s1, peak1), lowest);
  storeExpWithin(row, x0, x1, f32x4.ne(s0, none), f32x4.ne(s1, none), expTable);
}

/**
 * Turns scores into weights e^(score − peak) against the new running peak; brings sums and accumulator to that peak.
 */
function softmaxBlock(c: i32, k0: i32, low: i32, high: i32, again: bool): void {
  const at = c << 3;
  hideUnseen(c, k0, low, high);
  const before0 = v128.load(peaks + at);
  const before1 = v128.load(peaks + at, 16);
  let peak0 = before0;
  let peak1 = before1;
  const begin = scores + low * SCORE_ROW + at;
  const end = scores + high * SCORE_ROW + at;
  for (let row = begin; row < end; row += SCORE_ROW) {
    peak0 = f32x4.pmax(peak0, v128.load(row));
    peak1 = f32x4.pmax(peak1, v128.load(row, 16));
  }
  let sum0 = f32x4.splat(0);
  let sum1 = f32x4.splat(0);
  for (let row = begin; row < end; row += SCORE_ROW) {
    weigh(row, peak0, peak1);
    sum0 = f32x4.add(sum0, v128.load(row));
    sum1 = f32x4.add(sum1, v128.load(row, 16));
  }
  v128.store(peaks + at, peak0);
  v128.store(peaks + at, peak1, 16);
  if (again) {
    const shrink0 = exponential(f32x4.sub(before0, peak0));
    const shrink1 = exponential(f32x4.sub(before1, peak1));
    sum0 = madd(shrink0, v128.load(sums + at), sum0);
    sum1 = madd(shrink1, v128.load(sums + at, 16), sum1);
    // The factors pass through `sums`: lanes cannot be picked by a variable.
    v128.store(sums + at, shrink0);
    v128.store(sums + at, shrink1, 16);
    for (let i = c << 1; i < (c << 1) + 8; i++) scaleRow(accumulator + i * rowBytes, load<f32>(sums + (i << 2)));
  }
  v128.store(sums + at, sum0);
  v128.store(sums + at, sum1, 16);
}

function scaleRow(row: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  for (const end = row + rowBytes; row < end; row += 32) {
    const x = f32x4.mul(f, v128.load(row));
    const y = f32x4.mul(f, v128.load(row, 16));
    v128.store(row, x);
    v128.store(row, y, 16);
  }
}

/** The gradient of a key or value head, turned back. */
function storeKeys(from: usize, to: usize, b: i32, kvHead: i32, turned: i32): void {
  for (let j0 = 0; j0 < keyLength; j0 += KEYS) {
    const end = min(keyLength, j0 + KEYS);
    touch(keyRow(to, b, kvHead, j0), numKvHeads, end - j0);
    for (let j = j0; j < end; j++) turn(from + j * rowBytes, keyRow(to, b, kvHead, j), b, j, turned, 1, true);
  }
}

function storeTile(o: usize, lse: usize, b: i32, head: i32, i0: i32, count: i32): void {
  touch(queryRow(o, b, head, i0), numHeads, count);
  for (let i = 0; i < count; i++) {
    const sum = load<f32>(sums + (i << 2));
    const peak = load<f32>(peaks + (i << 2));
    const to = queryRow(o, b, head, i0 + i);
    // A query that sees no key has sum 0. One that sees some, none of them above NONE, has scores that are not finite,
    // as where the sum is a NaN.
    const spoilt: f32 = sum == 0 || peak > NONE ? sum - sum : NaN;
    turn(accumulator + i * rowBytes, to, b, 0, 0, sum == 0 ? 0 : 1 / sum + spoilt, false);
    store<f32>(
      lse + (((b * numHeads + head) * queryLength + i0 + i) << 2),
      sum == 0 ? 0 : peak + logarithm(sum) + spoilt,
    );
  }
}

/** ln x for a number x ≥ 1e-30, by atanh of (m − 1)/(m + 1) with m in [√½, √2). */
function logarithm(x: f32): f32 {
  const bits = reinterpret<i32>(x) - 0x3f3504f3;
  const n = bits >> 23;
  const m = reinterpret<f32>((bits & 0x007fffff) + 0x3f3504f3);
  const z = (m - 1) / (m + 1);
  const z2 = z * z;
  return (
    <f32>n * <f32>0.69314718 +
    2 * z * (1 + z2 * (<f32>0.33333333 + z2 * (<f32>0.2 + z2 * (<f32>0.14285714 + z2 * <f32>0.11111111))))
  );
}

/** lse into `sums`, rowsum(dy ∘ o) into `dots`; dy's queries are in `rows`, where `packQueries` left them. */
function loadSums(o: usize, lse: usize, b: i32, head: i32, i0: i32, count: i32): void {
  const vectors = dim & ~3;
  touch(queryRow(o, b, head, i0), numHeads, count);
  for (let i = 0; i < QUERIES; i++) {
    let dot: f32 = 0;
    let at: f32 = 0;
    if (i < count) {
      const x = queryRow(o, b, head, i0 + i);
      const y = rows + i * rowBytes;
      let acc = f32x4.splat(0);
      for (let d = 0; d < vectors; d += 4) acc = madd(v128.load(x + (d << 2)), v128.load(y + (d << 2)), acc);
      dot = sumLanes(acc);
      for (let d = vectors; d < dim; d++) dot += load<f32>(x + (d << 2)) * load<f32>(y + (d << 2));
      at = load<f32>(lse + (((b * numHeads + head) * queryLength + i0 + i) << 2));
    }
    store<f32>(sums + (i << 2), at);
    store<f32>(dots + (i << 2), dot);
  }
}

/** Adds what the key tile t contributes to dq (in the accumulator), dk and dv. */
function differentiateTile(t: i32, count: i32): void {
  const k0 = t * KEYS;
  const blocks = ((count + 7) >> 3) << 2;
  multiplyScores(keysAcross + t * tileBytes, queriesAcross, scores, k0, blocks);
  multiplyScores(valuesAcross + t * tileBytes, outAcross, dScores, k0, blocks);
  let top = 0;
  for (let c = 0; c < blocks; c += 4) {
    const low = firstRow(c, k0);
    const high = lastRow(c, k0);
    if (low >= high) continue;
    top = max(top, high);
    differentiateBlock(c, k0, low, high);
    const d = dScores + low * SCORE_ROW + (c << 3);
    const to = accumulator + (c << 1) * rowBytes;
    const keys = keysAlong + t * tileBytes + (low << 5);
    productAcross(d, keys, to, high - low);
    productAcross(d + 16, keys, to + 4 * rowBytes, high - low);
  }
  for (let r = 0; r < top; r += 4) {
    let from = blocks;
    let to = 0;
    for (let c = 0; c < blocks; c += 4) {
      if (firstRow(c, k0) <= r && lastRow(c, k0) > r) {
        from = min(from, c);
        to = c + 4;
      }
    }
    if (from >= to) continue;
    const i = from << 1;
    const steps = (to - from) << 1;
    const at = r * SCORE_ROW + (i << 2);
    productAlong(scores + at, outAlong + (i << 5), dValues + (k0 + r) * rowBytes, steps);
    productAlong(dScores + at, queriesAlong + (i << 5), dKeys + (k0 + r) * rowBytes, steps);
  }
}

/** scores to weights p = e^(score − lse), dScores from dp to p · (dp − dot). */
function differentiateBlock(c: i32, k0: i32, low: i32, high: i32): void {
  const at = c << 3;
  hideUnseen(c, k0, low, high);
  const lse0 = v128.load(sums + at);
  const lse1 = v128.load(sums + at, 16);
  const dot0 = v128.load(dots + at);
  const dot1 = v128.load(dots + at, 16);
  const end = scores + high * SCORE_ROW + at;
  let other = dScores + low * SCORE_ROW + at;
  for (let row = scores + low * SCORE_ROW + at; row < end; row += SCORE_ROW) {
    weigh(row, lse0, lse1);
    const d0 = f32x4.mul(v128.load(row), f32x4.sub(v128.load(other), dot0));
    const d1 = f32x4.mul(v128.load(row, 16), f32x4.sub(v128.load(other, 16), dot1));
    v128.store(other, d0);
    v128.store(other, d1, 16);
    other += SCORE_ROW;
  }
}

/** out[4 queries][width] += weights[steps keys][4 queries]ᵀ · panels of the keys. */
function productAcross(weights: usize, panels: usize, out: usize, steps: i32): void {
  let d: usize = 0;
  if (WIDE) {
    for (; d + 64 <= rowBytes; d += 64) {
      addAcross16(weights, panels, out + d, rowBytes, steps);
      panels += KEYS << 6;
    }
  }
  for (; d < rowBytes; d += 32) {
    addAcross(weights, panels, out + d, rowBytes, steps);
    panels += KEYS << 5;
  }
}

/** out[4 keys][width] += weights[4 keys][steps queries] · panels of the queries. */
function productAlong(weights: usize, panels: usize, out: usize, steps: i32): void {
  let d: usize = 0;
  if (WIDE) {
    for (; d + 64 <= rowBytes; d += 64) {
      addAlong16(weights, panels, out + d, rowBytes, steps);
      panels += QUERIES << 6;
    }
  }
  for (; d < rowBytes; d += 32) {
    addAlong(weights, panels, out + d, rowBytes, steps);
    panels += QUERIES << 5;
  }
}
