import type { FloatDtype, Packed4bit, PackedAbsmax, QuantType } from '../../kernels/types.js';
import { ConfigError, FormatError } from '../errors.js';
import { roundToBfloat16, roundToFloat16 } from '../io/half.js';
import { DYNAMIC_MAP, nearestDynamic } from './dynamic-map.js';
import { torchMean } from './mean.js';
import { bucketOf, CODE_SEARCH, CODES } from './nf4.js';

export interface QuantizeOptions {
  readonly quantType: QuantType;
  /** Values a scale; default 64. */
  readonly blockSize?: number;
  /** Quantise the scales once more, to 8 bits in blocks of 256. */
  readonly doubleQuant: boolean;
  /** What the weight was stored as; default F32. */
  readonly dtype?: FloatDtype;
}

const NESTED_BLOCK = 256;
/** bitsandbytes divides by no less than this, so that a block of zeros gives zeros. */
const LEAST_SCALE = Math.fround(1e-38);

/**
 * 4-bit blockwise quantisation, bit-identical to bitsandbytes on the CPU. The row-major values are cut into blocks,
 * which may cross rows; absmax = max |w| of a block, x = w · (1 / absmax), code = number of midpoints below x.
 * A partial last block divides instead of multiplying. With `doubleQuant`, absmax − mean(absmax) is stored in 8 bits:
 * 4.127 bits a weight in all.
 * @param values row-major, as many as `shape` says
 * @throws ConfigError on a block size that is no even number; FormatError on a non-finite value or a wrong count.
 * Source: Dettmers et al., "QLoRA" (2023).
 */
export function quantize4bit(values: Float32Array, shape: readonly number[], options: QuantizeOptions): Packed4bit {
  const { quantType, blockSize = 64, doubleQuant, dtype = 'F32' } = options;
  checkBlockSize(blockSize);
  if (shape.reduce((a, b) => a * b, 1) !== values.length) {
    throw new FormatError(`found ${values.length} values for the shape [${shape.join(', ')}]`);
  }
  const absmax = blockAbsmax(values, blockSize);
  const { midpoints, below, ranks } = CODE_SEARCH[quantType];
  const packed = new Uint8Array(Math.ceil(values.length / 2));
  const codeOf = (x: number): number => {
    const rank = below[bucketOf(x)] as number;
    return ranks[x > (midpoints[rank] as number) ? rank + 1 : rank] as number;
  };
  const fullBlocks = Math.floor(values.length / blockSize);
  for (let block = 0; block < fullBlocks; block++) {
    const reciprocal = Math.fround(1 / Math.max(absmax[block] as number, LEAST_SCALE));
    const end = (block + 1) * blockSize;
    for (let i = block * blockSize; i < end; i += 2) {
      const high = codeOf(clamp(Math.fround((values[i] as number) * reciprocal)));
      const low = codeOf(clamp(Math.fround((values[i + 1] as number) * reciprocal)));
      packed[i >> 1] = (high << 4) | low;
    }
  }
  const scale = absmax[fullBlocks] as number;
  for (let i = fullBlocks * blockSize; i < values.length; i += 2) {
    const high = codeOf(clamp(Math.fround((values[i] as number) / scale)));
    // An odd count leaves a last half byte: it holds the code of zero.
    const low = codeOf(clamp(Math.fround((values[i + 1] ?? 0) / scale)));
    packed[i >> 1] = (high << 4) | low;
  }
  return {
    quantType,
    shape: [...shape],
    blockSize,
    dtype,
    packed,
    code: CODES[quantType],
    absmax: packAbsmax(absmax, doubleQuant),
  };
}

/** The scales alone, as {@link quantize4bit} makes them. @throws ConfigError, FormatError as there. */
export function quantizeScales(values: Float32Array, { blockSize = 64, doubleQuant }: QuantizeOptions): PackedAbsmax {
  checkBlockSize(blockSize);
  return packAbsmax(blockAbsmax(values, blockSize), doubleQuant);
}

function checkBlockSize(blockSize: number): void {
  if (!Number.isSafeInteger(blockSize) || blockSize < 2 || blockSize % 2 !== 0) {
    throw new ConfigError(`block size: found ${blockSize}, allowed an even whole number from 2`);
  }
}

function packAbsmax(absmax: Float32Array, doubleQuant: boolean): PackedAbsmax {
  return doubleQuant ? nestAbsmax(absmax) : { kind: 'plain', values: absmax };
}

/** The weight, row-major: code[nibble] · absmax in float32, then rounded to the stored dtype. */
export function dequantize4bit(q: Packed4bit): Float32Array {
  const count = q.shape.reduce((a, b) => a * b, 1);
  const absmax = dequantizeAbsmax(q.absmax);
  const values = new Float32Array(count);
  const { packed, code, blockSize } = q;
  for (let block = 0, start = 0; start < count; block++, start += blockSize) {
    const scale = absmax[block] as number;
    const end = Math.min(start + blockSize, count);
    for (let i = start; i < end; i++) {
      const byte = packed[i >> 1] as number;
      values[i] = (code[i & 1 ? byte & 15 : byte >> 4] as number) * scale;
    }
  }
  if (q.dtype === 'BF16') return roundToBfloat16(values);
  return q.dtype === 'F16' ? roundToFloat16(values) : values;
}

/** One float32 scale a block: map[code] · nestedAbsmax + offset, each step rounded to float32. */
export function dequantizeAbsmax(absmax: PackedAbsmax): Float32Array {
  if (absmax.kind === 'plain') return absmax.values;
  const { codes, map, nestedAbsmax, nestedBlockSize, offset } = absmax;
  const values = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) {
    const scale = nestedAbsmax[Math.floor(i / nestedBlockSize)] as number;
    values[i] = Math.fround((map[codes[i] as number] as number) * scale) + offset;
  }
  return values;
}

/** Bytes of codes and scales, without the tables of 16 and 256 values that weights share. */
export function packedBytes(q: Packed4bit): number {
  const { absmax } = q;
  const scales =
    absmax.kind === 'plain' ? absmax.values.byteLength : absmax.codes.byteLength + absmax.nestedAbsmax.byteLength + 4;
  return q.packed.byteLength + scales;
}

function blockAbsmax(values: Float32Array, blockSize: number): Float32Array {
  const absmax = new Float32Array(Math.ceil(values.length / blockSize));
  for (let block = 0; block < absmax.length; block++) {
    const start = block * blockSize;
    const end = Math.min(start + blockSize, values.length);
    let largest = 0;
    // A comparison passes over NaN; v − v is 0 for every finite value and NaN for the others.
    let broken = 0;
    for (let i = start; i < end; i++) {
      const value = values[i] as number;
      const magnitude = value < 0 ? -value : value;
      if (magnitude > largest) largest = magnitude;
      broken += value - value;
    }
    if (broken !== 0) {
      const at = values.subarray(start, end).findIndex((value) => !Number.isFinite(value));
      throw new FormatError(`value ${start + at}: found ${values[start + at]}, allowed finite numbers`);
    }
    // bitsandbytes stores the bounded scale of a partial block, but the plain one of a full block.
    absmax[block] = end - start < blockSize ? Math.max(largest, LEAST_SCALE) : largest;
  }
  return absmax;
}

function nestAbsmax(absmax: Float32Array): PackedAbsmax {
  const offset = absmax.length === 0 ? 0 : torchMean(absmax);
  const { codes, absmax: nestedAbsmax } = quantize8bit(
    absmax.map((value) => value - offset),
    NESTED_BLOCK,
  );
  return { kind: 'nested', codes, map: DYNAMIC_MAP, nestedAbsmax, nestedBlockSize: NESTED_BLOCK, offset };
}

/** Blockwise 8-bit quantisation with the signed dynamic map; full and partial blocks as in {@link quantize4bit}. */
export function quantize8bit(values: Float32Array, blockSize: number): { codes: Uint8Array; absmax: Float32Array } {
  const absmax = blockAbsmax(values, blockSize);
  const codes = new Uint8Array(values.length);
  for (let block = 0, start = 0; start < values.length; block++, start += blockSize) {
    const scale = Math.max(absmax[block] as number, LEAST_SCALE);
    const reciprocal = Math.fround(1 / scale);
    const end = Math.min(start + blockSize, values.length);
    const partial = end < start + blockSize;
    for (let i = start; i < end; i++) {
      const value = values[i] as number;
      codes[i] = nearestDynamic(clamp(Math.fround(partial ? value / scale : value * reciprocal)));
    }
  }
  return { codes, absmax };
}

/** A rounded reciprocal can carry the largest value past 1. */
function clamp(x: number): number {
  return x > 1 ? 1 : x < -1 ? -1 : x;
}
