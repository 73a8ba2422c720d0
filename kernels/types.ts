import type { Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';

export type QuantType = 'nf4' | 'fp4';

/** Storage dtype of the checkpoint a weight came from: dequantised values are rounded to it, as bitsandbytes does. */
export type FloatDtype = 'F32' | 'F16' | 'BF16';

/** Blockwise scales of a 4-bit weight on the host: plain float32, or quantised once more to 8 bits. */
export type PackedAbsmax =
  | { readonly kind: 'plain'; readonly values: Float32Array }
  | {
      readonly kind: 'nested';
      /** One code a block. */
      readonly codes: Uint8Array;
      /** The 256 values that the codes index. */
      readonly map: Float32Array;
      readonly nestedAbsmax: Float32Array;
      /** Codes per nested_absmax value (256). */
      readonly nestedBlockSize: number;
      readonly offset: number;
    };

/** A 4-bit weight on the host, in bitsandbytes' layout: row-major, two codes a byte, the first in the high nibble. */
export interface Packed4bit {
  readonly quantType: QuantType;
  readonly shape: readonly number[];
  readonly blockSize: number;
  readonly dtype: FloatDtype;
  readonly packed: Uint8Array;
  /** The 16 values that the codes index. */
  readonly code: Float32Array;
  readonly absmax: PackedAbsmax;
}

/** A frozen float weight `[out, in]` on the device. */
export interface DenseWeight {
  readonly kind: 'dense';
  readonly shape: readonly [out: number, inner: number];
  readonly values: Tensor2D;
}

/**
 * A frozen 4-bit weight `[out, in]` on the device. Bytes travel as int32 tensors (four bytes an element,
 * little-endian) because tfjs has no 8-bit dtype: 4.127 bits a weight with nested scales.
 */
export interface QuantizedWeight {
  readonly kind: '4bit';
  readonly shape: readonly [out: number, inner: number];
  readonly quantType: QuantType;
  readonly blockSize: number;
  readonly dtype: FloatDtype;
  /** int32 `[ceil(out·in / 8)]`. */
  readonly packed: Tensor1D;
  /** float32 `[16]`; one tensor may serve many weights. */
  readonly code: Tensor1D;
  readonly absmax:
    | { readonly kind: 'plain'; readonly values: Tensor1D }
    | {
        readonly kind: 'nested';
        /** int32 `[ceil(blocks / 4)]`. */
        readonly codes: Tensor1D;
        /** float32 `[256]`; one tensor may serve many weights. */
        readonly map: Tensor1D;
        readonly nestedAbsmax: Tensor1D;
        readonly nestedBlockSize: number;
        readonly offset: number;
      };
}

export type FrozenWeight = DenseWeight | QuantizedWeight;

/** The low-rank update of a linear layer: y += scale · (x·Aᵀ)·Bᵀ. */
export interface LowRank {
  /** float32 `[r, in]`. */
  readonly a: Tensor2D;
  /** float32 `[out, r]`. */
  readonly b: Tensor2D;
  readonly scale: number;
}
