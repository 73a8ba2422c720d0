import * as tf from '@tensorflow/tfjs-core';
import { runOp, runOpMulti, sharedMany, type Op } from '../runtime/op.js';
import { gradientParts, namedParts } from '../runtime/gradients/summands.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmOffset, wasmOutput } from '../runtime/wasm/module.js';
import { gpuDispatch, gpuOutput, gpuWorkgroups } from '../runtime/webgpu/dispatch.js';
import { layerNormGradOp, layerNormWeightsGradOp } from './backward.js';
import { layerNormReference } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/**
 * Layer normalisation: y = (x − mean(x)) / √(var(x) + eps) · weight + bias, mean and (biased) variance over the last
 * axis.
 *
 * @param x `[rows, dim]` float32
 * @param weight `[dim]` float32
 * @param bias `[dim]` float32
 * @returns `[rows, dim]`
 * Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450.
 */
export function layerNorm(x: tf.Tensor2D, weight: tf.Tensor1D, bias: tf.Tensor1D, eps: number): tf.Tensor2D {
  const fits = x.rank === 2 && [weight, bias].every((t) => t.rank === 1 && t.shape[0] === x.shape[1]);
  tf.util.assert(
    fits,
    () =>
      `layerNorm: x is [${x.shape.join(', ')}], weight is [${weight.shape.join(', ')}], bias is [${bias.shape.join(', ')}]`,
  );
  const [y, stats] = runOpMulti(layerNormOp, { x, w: weight, b: bias }, { eps }) as [tf.Tensor2D, tf.Tensor2D];
  stats.dispose();
  return y;
}

/** Outputs y and, for the backward pass, (mean, 1 / √(var + eps)) of each row. */
export const layerNormOp: Op = {
  name: 'LowrankLayerNorm',
  reference: ({ x, w, b }, attrs) =>
    layerNormReference(x as tf.Tensor2D, w as tf.Tensor1D, b as tf.Tensor1D, attrs['eps'] as number),
  wasm: ({ inputs, attrs, backend }) => {
    const { x, w, b } = inputs as Record<'x' | 'w' | 'b', tf.TensorInfo>;
    const [rows, dim] = x.shape as [number, number];
    const [y, stats] = [wasmOutput(backend, [rows, dim]), wasmOutput(backend, [rows, 2])];
    const pointers = [x, w, b, y, stats].map((t) => wasmOffset(backend, t));
    parallelFor(backend, wasmSource, 'forward', [...pointers, dim, attrs['eps'] as number], {
      count: rows,
      cost: 0.6 * dim,
    });
    return [y, stats];
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { x, w, b } = inputs as Record<'x' | 'w' | 'b', tf.TensorInfo>;
    const [rows, dim] = x.shape as [number, number];
    const [y, stats] = [gpuOutput(backend, [rows, dim]), gpuOutput(backend, [rows, 2])];
    const program = { name: 'layer-norm/forward', code: wgsl.forward };
    gpuDispatch(
      backend,
      program,
      [x, w, b, y, stats],
      [
        ['u', rows],
        ['u', dim],
        ['f', attrs['eps'] as number],
      ],
      gpuWorkgroups(rows, 1),
    );
    return [y, stats];
  },
  gradient: {
    inputsToSave: ['x', 'w'],
    outputsToSave: [false, true],
    gradFunc: (dys, saved) => {
      const parts = namedParts(gradientParts(dys));
      const [x, w, stats] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
      const weights = sharedMany(() => runOpMulti(layerNormWeightsGradOp, { ...parts, x, stats }));
      return {
        x: (added?: tf.Tensor) => runOp(layerNormGradOp, { ...parts, x, w, stats, added }),
        w: () => weights(0),
        b: () => weights(1),
      };
    },
  },
  sumsInto: ['x'],
};
