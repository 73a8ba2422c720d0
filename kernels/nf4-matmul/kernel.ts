import * as tf from '@tensorflow/tfjs-core';
import { wasmGemm } from '../matmul/wasm/gemm.js';
import { dequantizeOp } from '../nf4-dequantize/kernel.js';
import { withDecodedWeight } from '../nf4-dequantize/tensorflow.js';
import {
  quantizedAttrs,
  quantizedInputs,
  weightInputNames,
  weightTensors,
  type QuantizedAttrs,
} from '../nf4-dequantize/weight.js';
import { runOp, type Op } from '../runtime/op.js';
import { wasmOutput } from '../runtime/wasm/module.js';
import type { QuantizedWeight } from '../types.js';
import { quantizedMatmulReference } from './reference.js';
import { quantizedMatmulWebgpu } from './webgpu.js';

/**
 * Product with a frozen 4-bit weight W `[out, in]` that is decoded on the fly: y = x·Wᵀ (x `[n, in]` -> `[n, out]`), or
 * with `transposed` y = x·W (x `[n, out]` -> `[n, in]`). Differentiable in x only.
 */
export function quantizedMatmul(x: tf.Tensor2D, weight: QuantizedWeight, transposed = false): tf.Tensor2D {
  const [out, inner] = weight.shape;
  tf.util.assert(
    x.shape[1] === (transposed ? out : inner),
    () => `quantizedMatmul: x is [${x.shape.join(', ')}], the weight [${out}, ${inner}], transposed ${transposed}`,
  );
  return runOp(
    quantizedMatmulOp,
    { x, ...quantizedInputs(weight) },
    { ...quantizedAttrs(weight), transposed },
  ) as tf.Tensor2D;
}

/** Inputs x and those of LowrankDequantize; attributes those of LowrankDequantize and transposed. */
export const quantizedMatmulOp: Op = {
  name: 'LowrankQuantizedMatmul',
  reference: (inputs, attrs) => {
    const w = runOp(dequantizeOp, weightTensors(inputs), attrs) as tf.Tensor2D;
    return quantizedMatmulReference(inputs['x'] as tf.Tensor2D, w, attrs['transposed'] as boolean);
  },
  wasm: ({ inputs, attrs, backend }) => {
    const x = inputs['x'] as tf.TensorInfo;
    const weight = attrs as unknown as QuantizedAttrs;
    const transposed = attrs['transposed'] as boolean;
    const y = wasmOutput(backend, [x.shape[0] as number, transposed ? weight.cols : weight.rows]);
    wasmGemm(
      backend,
      x,
      { inputs: inputs as Record<string, tf.TensorInfo>, attrs: weight },
      y,
      transposed ? 'nn' : 'nt',
    );
    return y;
  },
  webgpu: quantizedMatmulWebgpu,
  tensorflow: ({ inputs, attrs, backend }) =>
    withDecodedWeight(backend, inputs as Record<string, tf.TensorInfo>, attrs as unknown as QuantizedAttrs, (w) =>
      quantizedMatmulReference(inputs['x'] as tf.Tensor2D, w, attrs['transposed'] as boolean),
    ),
  gradient: {
    saveAllInputs: true,
    gradFunc: (dys, saved, attrs) => {
      const dy = (Array.isArray(dys) ? dys[0] : dys) as tf.Tensor2D;
      const { transposed, nestedBlockSize } = attrs as unknown as QuantizedAttrs & { transposed: boolean };
      const names = ['x', ...weightInputNames(nestedBlockSize > 0)];
      const inputs = Object.fromEntries(names.map((name, i) => [name, saved[i]]));
      return { x: () => runOp(quantizedMatmulOp, { ...inputs, x: dy }, { ...attrs, transposed: !transposed }) };
    },
  },
};
