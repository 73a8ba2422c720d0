import type { FloatDtype } from '../../../kernels/types.js';

/*
 * GGUF, version 3, little-endian: "GGUF", u32 version, u64 tensors, u64 entries; the entries; for each tensor name, u32
 * dimensions, u64 sizes (the fastest first), u32 type, u64 offset; then the data, from a multiple of
 * `general.alignment` on, each tensor at one. Source: the specification in ggml's repository, docs/gguf.md.
 */

export const GGUF_MAGIC = 0x46554747;
export const GGUF_VERSION = 3;
export const DEFAULT_ALIGNMENT = 32;
export const MAX_DIMENSIONS = 4;

/** Number of each type of value in the file. */
export const VALUE_TYPES = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
  float64: 12,
} as const;

export type GgufNumberType = 'uint8' | 'int8' | 'uint16' | 'int16' | 'uint32' | 'int32' | 'float32' | 'float64';
export type GgufBigType = 'uint64' | 'int64';

/** An entry of the file's metadata. */
export type GgufValue =
  | { readonly type: GgufNumberType; readonly value: number }
  | { readonly type: GgufBigType; readonly value: bigint }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'array'; readonly value: readonly GgufValue[]; readonly of: keyof typeof VALUE_TYPES };

/** ggml's number of each float type. */
export const GGML_TYPES = { F32: 0, F16: 1, BF16: 30 } as const satisfies Record<FloatDtype, number>;

/** A tensor to write, row-major. */
export interface GgufTensor {
  readonly name: string;
  readonly dtype: FloatDtype;
  /** Slowest first, as in safetensors; the file has them the other way round. */
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}
