import * as tf from '@tensorflow/tfjs-core';
import { runOp, withKernelMode, type Op } from '../runtime/op.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmOffset, wasmOutput } from '../runtime/wasm/module.js';
import type { QuantizedWeight } from '../types.js';
import { dequantizeReference } from './reference.js';
import { dequantizeTensorflow } from './tensorflow.js';
import { weightArgs } from './wasm-weight.js';
import { wasmSource } from './wasm.generated.js';
import { quantizedAttrs, quantizedInputs, type QuantizedAttrs } from './weight.js';
import { dequantizeWebgpu } from './webgpu.js';

/**
 * The float values of a 4-bit weight: w = code[nibble] · absmax[block] in float32, then rounded to the dtype of the
 * checkpoint (to nearest, ties to even), as bitsandbytes does. Blocks run over the flattened weight and may cross rows.
 *
 * @returns `[out, in]` float32
 * Source: Dettmers et al. 2023, arXiv:2305.14314; nested scales are its double quantisation.
 */
export function dequantize(weight: QuantizedWeight): tf.Tensor2D {
  return runOp(dequantizeOp, quantizedInputs(weight), quantizedAttrs(weight)) as tf.Tensor2D;
}

/**
 * Inputs: packed int32 `[ceil(rows·cols / 8)]` (bytes little-endian in a word, first value of a byte in the high
 * nibble), code `[16]`, and either absmax `[blocks]` or absmaxCodes int32 `[ceil(blocks / 4)]`, absmaxMap `[256]`,
 * nestedAbsmax. Attributes: QuantizedAttrs.
 */
export const dequantizeOp: Op = {
  name: 'LowrankDequantize',
  reference: (inputs, attrs) => {
    // Stock integer ops of tfjs-webgpu compute in float32 and lose the low bits of a word: only the own kernel can read
    // one there.
    if (tf.getBackend() === 'webgpu') return withKernelMode('auto', () => runOp(dequantizeOp, inputs, attrs));
    return dequantizeReference(inputs, attrs as unknown as QuantizedAttrs);
  },
  wasm: ({ inputs, attrs, backend }) => {
    const { rows, cols } = attrs as unknown as QuantizedAttrs;
    const y = wasmOutput(backend, [rows, cols]);
    const prepare = {
      name: 'setWeight',
      args: weightArgs(
        (tensor) => wasmOffset(backend, tensor),
        inputs as Record<string, tf.TensorInfo>,
        attrs as unknown as QuantizedAttrs,
      ),
    };
    parallelFor(backend, wasmSource, 'dequantize', [wasmOffset(backend, y)], {
      count: rows * cols,
      cost: 0.3,
      align: 4096,
      scratchBytes: 64,
      prepare,
    });
    return y;
  },
  webgpu: dequantizeWebgpu,
  tensorflow: dequantizeTensorflow,
  gradient: null,
};
