import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { QuantizedAttrs } from './weight.js';

/** The export of every module that decodes 4-bit weights. */
export interface SetWeight {
  setWeight(
    packed: number,
    code: number,
    scales: number,
    map: number,
    nestedScales: number,
    blockSize: number,
    nestedBlockSize: number,
    offset: number,
    dtype: number,
  ): void;
}

const DTYPE_NUMBERS = { F32: 0, F16: 1, BF16: 2 } as const;

/**
 * The arguments of the export `setWeight` of every module that decodes 4-bit weights.
 * @param addressOf byte offset of a tensor's values in the module's memory
 */
export function weightArgs(
  addressOf: (tensor: TensorInfo) => number,
  inputs: Record<string, TensorInfo>,
  attrs: QuantizedAttrs,
): number[] {
  const at = (name: string): number => {
    const tensor = inputs[name];
    return tensor === undefined ? 0 : addressOf(tensor);
  };
  const nested = attrs.nestedBlockSize > 0;
  return [
    ...[at('packed'), at('code'), at(nested ? 'absmaxCodes' : 'absmax'), at('absmaxMap'), at('nestedAbsmax')],
    ...[attrs.blockSize, attrs.nestedBlockSize, attrs.offset, DTYPE_NUMBERS[attrs.dtype]],
  ];
}
