import * as tf from '@tensorflow/tfjs-core';
import { runOp, runOpMulti, type Op } from '../runtime/op.js';
import { parallelFor } from '../runtime/threads.js';
import { wasmOffset, wasmOutput } from '../runtime/wasm.js';
import { gpuDispatch, gpuOutput, gpuWorkgroups } from '../runtime/webgpu.js';
import { rmsNormGradReference, rmsNormReference } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/**
 * Root-mean-square normalisation: y = x / √(mean(x²) + eps) · w, the mean over the last axis.
 *
 * @param x `[rows, dim]` float32
 * @param w `[dim]` float32
 * @returns `[rows, dim]`
 * Source: Zhang & Sennrich 2019, arXiv:1910.07467.
 */
export function rmsNorm(x: tf.Tensor2D, w: tf.Tensor1D, eps: number): tf.Tensor2D {
  tf.util.assert(x.rank === 2 && w.shape[0] === x.shape[1], () => `rmsNorm: x is [${x.shape.join(', ')}], w is [${w.shape.join(', ')}]`);
  const [y, rstd] = runOpMulti(rmsNormOp, { x, w }, { eps }) as [tf.Tensor2D, tf.Tensor1D];
  rstd.dispose();
  return y;
}

export const rmsNormOp: Op = {
  name: 'LowrankRmsNorm',
  reference: (inputs, attrs) => rmsNormReference(inputs['x'] as tf.Tensor2D, inputs['w'] as tf.Tensor1D, attrs['eps'] as number),
  wasm: ({ inputs, attrs, backend }) => {
    const { x, w } = inputs as { x: tf.TensorInfo; w: tf.TensorInfo };
    const [rows, dim] = x.shape as [number, number];
    const y = wasmOutput(backend, [rows, dim]);
    const rstd = wasmOutput(backend, [rows]);
    const at = (t: tf.TensorInfo): number => wasmOffset(backend, t);
    parallelFor(backend, wasmSource, 'forward', [at(x), at(w), at(y), at(rstd), dim, attrs['eps'] as number], { count: rows, cost: 0.4 * dim });
    return [y, rstd];
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { x, w } = inputs as { x: tf.TensorInfo; w: tf.TensorInfo };
    const [rows, dim] = x.shape as [number, number];
    const y = gpuOutput(backend, [rows, dim]);
    const rstd = gpuOutput(backend, [rows]);
    const program = { name: 'rms-norm/forward', code: wgsl.forward };
    gpuDispatch(backend, program, [x, w, y, rstd], [['u', rows], ['u', dim], ['f', attrs['eps'] as number]], gpuWorkgroups(rows, 1));
    return [y, rstd];
  },
  gradient: {
    inputsToSave: ['x', 'w'],
    outputsToSave: [false, true],
    gradFunc: (dys, saved) => {
      const dy = (dys as tf.Tensor[])[0] as tf.Tensor2D;
      const [x, w, rstd] = saved as [tf.Tensor2D, tf.Tensor1D, tf.Tensor1D];
      return {
        x: () => runOp(rmsNormGradOp, { dy, x, w, rstd }),
        w: () => tf.sum(tf.mul(tf.mul(dy, x), tf.expandDims(rstd, 1)), 0),
      };
    },
  },
};

export const rmsNormGradOp: Op = {
  name: 'LowrankRmsNormGrad',
  reference: (inputs) =>
    rmsNormGradReference(inputs['dy'] as tf.Tensor2D, inputs['x'] as tf.Tensor2D, inputs['w'] as tf.Tensor1D, inputs['rstd'] as tf.Tensor1D),
  wasm: ({ inputs, backend }) => {
    const { dy, x, w, rstd } = inputs as Record<'dy' | 'x' | 'w' | 'rstd', tf.TensorInfo>;
    const [rows, dim] = x.shape as [number, number];
    const dx = wasmOutput(backend, [rows, dim]);
    const at = (t: tf.TensorInfo): number => wasmOffset(backend, t);
    parallelFor(backend, wasmSource, 'backward', [at(dy), at(x), at(w), at(rstd), at(dx), dim], { count: rows, cost: 0.6 * dim });
    return dx;
  },
  webgpu: ({ inputs, backend }) => {
    const { dy, x, w, rstd } = inputs as Record<'dy' | 'x' | 'w' | 'rstd', tf.TensorInfo>;
    const [rows, dim] = x.shape as [number, number];
    const dx = gpuOutput(backend, [rows, dim]);
    gpuDispatch(backend, { name: 'rms-norm/backward', code: wgsl.backward }, [dy, x, w, rstd, dx], [['u', rows], ['u', dim]], gpuWorkgroups(rows, 1));
    return dx;
  },
  gradient: null,
};
