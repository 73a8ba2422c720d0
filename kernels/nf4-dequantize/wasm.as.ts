// AssemblyScript. Decodes 4-bit weights; pointers are byte offsets into the tfjs heap.

let packed: usize = 0;
let code: usize = 0;
let absmax: usize = 0;
let codes: usize = 0;
let map: usize = 0;
let nested: usize = 0;
let blockSize: u32 = 64;
let nestedBlockSize: u32 = 0;
let offset: f32 = 0;
let dtype: i32 = 0;

/**
 * Names the weight that later calls decode. scales is float32 a block when nestedBlock is 0; otherwise the 8-bit codes,
 * which index mapTable and are scaled by nestedScales. type: 0 float32, 1 float16, 2 bfloat16.
 */
export function setWeight(
  bytes: usize,
  table: usize,
  scales: usize,
  mapTable: usize,
  nestedScales: usize,
  block: u32,
  nestedBlock: u32,
  mean: f32,
  type: i32,
): void {
  packed = bytes;
  code = table;
  absmax = scales;
  codes = scales;
  map = mapTable;
  nested = nestedScales;
  blockSize = block;
  nestedBlockSize = nestedBlock;
  offset = mean;
  dtype = type;
}

@inline
function scaleOf(block: u32): f32 {
  if (nestedBlockSize == 0) return load<f32>(absmax + (block << 2));
  const value = load<f32>(map + ((<u32>load<u8>(codes + block)) << 2));
  return value * load<f32>(nested + ((block / nestedBlockSize) << 2)) + offset;
}

/** Rounds to the dtype of the checkpoint, to nearest, ties to even. */
@inline
function roundToDtype(v: v128): v128 {
  if (dtype == 2) {
    const odd = v128.and(i32x4.shr_u(v, 16), i32x4.splat(1));
    const rounded = v128.and(i32x4.add(i32x4.add(v, i32x4.splat(0x7fff)), odd), i32x4.splat(0xffff0000));
    // The bits of a NaN may run over.
    return v128.bitselect(v, rounded, f32x4.ne(v, v));
  }
  if (dtype == 1) {
    // Adding and subtracting 1.5 · 2^13 times the value's power of two leaves the 11 bits that float16 keeps (fewer
    // below 2^-14).
    const magnitude = f32x4.abs(v);
    const power = i32x4.max_s(v128.and(magnitude, i32x4.splat(0x7f800000)), i32x4.splat(113 << 23));
    const shift = v128.or(i32x4.add(power, i32x4.splat(13 << 23)), i32x4.splat(0x400000));
    const rounded = f32x4.sub(f32x4.add(magnitude, shift), shift);
    const finite = f32x4.le(rounded, f32x4.splat(65504));
    const limited = v128.bitselect(rounded, i32x4.splat(0x7f800000), finite);
    return v128.or(limited, v128.and(v, i32x4.splat(0x80000000)));
  }
  return v;
}

/** Writes the values [begin, end) of the flattened weight to where they stand in y. table is 64 bytes of scratch. */
export function dequantize(y: usize, begin: u32, end: u32, table: usize): void {
  decode(begin, end - begin, y + ((<usize>begin) << 2), table);
}

/**
 * Writes the values [start, start + count) of the flattened weight to `to`. table is 64 bytes of scratch.
 * A block's 16 possible values are made once; nibbles then select their four bytes from four tables of bytes.
 */
export function decode(start: u32, count: u32, to: usize, table: usize): void {
  const end = start + count;
  let i = start;
  while (i < end) {
    const block = i / blockSize;
    const stop = min(end, (block + 1) * blockSize);
    const scale = f32x4.splat(scaleOf(block));
    const t0 = roundToDtype(f32x4.mul(v128.load(code), scale));
    const t1 = roundToDtype(f32x4.mul(v128.load(code, 16), scale));
    const t2 = roundToDtype(f32x4.mul(v128.load(code, 32), scale));
    const t3 = roundToDtype(f32x4.mul(v128.load(code, 48), scale));
    v128.store(table, t0);
    v128.store(table, t1, 16);
    v128.store(table, t2, 32);
    v128.store(table, t3, 48);
    if (i & 1) {
      store<f32>(to, load<f32>(table + (((<u32>load<u8>(packed + (i >> 1))) & 15) << 2)));
      to += 4;
      i++;
    }
    if (i + 16 <= stop) {
      const a01 = i8x16.shuffle(t0, t1, 0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
      const b01 = i8x16.shuffle(t2, t3, 0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
      const a23 = i8x16.shuffle(t0, t1, 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
      const b23 = i8x16.shuffle(t2, t3, 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
      const byte0 = i64x2.shuffle(a01, b01, 0, 2);
      const byte1 = i64x2.shuffle(a01, b01, 1, 3);
      const byte2 = i64x2.shuffle(a23, b23, 0, 2);
      const byte3 = i64x2.shuffle(a23, b23, 1, 3);
      const low = i8x16.splat(15);
      for (; i + 16 <= stop; i += 16, to += 64) {
        const bytes = v128.load64_zero(packed + (i >> 1));
        const high = v128.and(i16x8.shr_u(bytes, 4), low);
        const nibbles = i8x16.shuffle(
          high,
          v128.and(bytes, low),
          0,
          16,
          1,
          17,
          2,
          18,
          3,
          19,
          4,
          20,
          5,
          21,
          6,
          22,
          7,
          23,
        );
        const v0 = i8x16.swizzle(byte0, nibbles);
        const v1 = i8x16.swizzle(byte1, nibbles);
        const v2 = i8x16.swizzle(byte2, nibbles);
        const v3 = i8x16.swizzle(byte3, nibbles);
        const low01 = i8x16.shuffle(v0, v1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        const high01 = i8x16.shuffle(v0, v1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        const low23 = i8x16.shuffle(v2, v3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        const high23 = i8x16.shuffle(v2, v3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        v128.store(to, i16x8.shuffle(low01, low23, 0, 8, 1, 9, 2, 10, 3, 11));
        v128.store(to, i16x8.shuffle(low01, low23, 4, 12, 5, 13, 6, 14, 7, 15), 16);
        v128.store(to, i16x8.shuffle(high01, high23, 0, 8, 1, 9, 2, 10, 3, 11), 32);
        v128.store(to, i16x8.shuffle(high01, high23, 4, 12, 5, 13, 6, 14, 7, 15), 48);
      }
    }
    for (; i < stop; i++, to += 4) {
      const byte = <u32>load<u8>(packed + (i >> 1));
      store<f32>(to, load<f32>(table + (((i & 1 ? byte : byte >> 4) & 15) << 2)));
    }
  }
}
