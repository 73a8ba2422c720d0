import type { TensorInfo } from '@tensorflow/tfjs-core';
import { wasmOffset } from '../runtime/wasm/module.js';
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

/** The arguments of the export `setWeight` of every module that decodes 4-bit weights. */
export function weightArgs(backend: unknown, inputs: Record<string, TensorInfo>, attrs: QuantizedAttrs): number[] {
  const at = (name: string): number => {
    const tensor = inputs[name];
    return tensor === undefined ? 0 : wasmOffset(backend, tensor);
  };
  const nested = attrs.nestedBlockSize > 0;
  return [
    ...[at('packed'), at('code'), at(nested ? 'absmaxCodes' : 'absmax'), at('absmaxMap'), at('nestedAbsmax')],
    ...[attrs.blockSize, attrs.nestedBlockSize, attrs.offset, DTYPE_NUMBERS[attrs.dtype]],
  ];
}
