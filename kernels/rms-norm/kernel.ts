import * as tf from '@tensorflow/tfjs-core';
import { forEach } from '../runtime/each.js';
import { runOp, runOpMulti, type Op } from '../runtime/op.js';
import { gradientParts, namedParts, partPointers, partsIn, sumParts } from '../runtime/parts.js';
import { parallelFor } from '../runtime/threads.js';
import { wasmOffset, wasmOutput } from '../runtime/wasm.js';
import { gpuDispatch, gpuOutput, gpuWorkgroups } from '../runtime/webgpu.js';
import { rmsNormGradReference, rmsNormReference, rmsNormWeightGradReference } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/** Columns that a workgroup of weights.wgsl sums. */
const COLUMNS = 16;

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
      const parts = namedParts(gradientParts(dys));
      const [x, w, rstd] = saved as [tf.Tensor2D, tf.Tensor1D, tf.Tensor1D];
      return {
        x: (added?: tf.Tensor) => runOp(rmsNormGradOp, { ...parts, x, w, rstd, added }),
        w: () => runOp(rmsNormWeightGradOp, { ...parts, x, rstd }),
      };
    },
  },
  sumsInto: ['x'],
};

/** dx for dy = dy0 + dy1 + …, plus `added` where that is given. */
export const rmsNormGradOp: Op = {
  name: 'LowrankRmsNormGrad',
  reference: (inputs) => {
    const { x, w, rstd, added } = inputs as Record<string, tf.Tensor>;
    const dx = rmsNormGradReference(sumParts(inputs), x as tf.Tensor2D, w as tf.Tensor1D, rstd as tf.Tensor1D);
    return added === undefined ? dx : tf.add(dx, added);
  },
  wasm: ({ inputs, backend }) => {
    const { x, w, rstd, added } = inputs as Record<'x' | 'w' | 'rstd', tf.TensorInfo> & { added?: tf.TensorInfo };
    const [rows, dim] = x.shape as [number, number];
    const dx = wasmOutput(backend, [rows, dim]);
    const at = (t: tf.TensorInfo): number => wasmOffset(backend, t);
    const args = [...partPointers(backend, inputs as Record<string, tf.TensorInfo>), at(x), at(w), at(rstd), added === undefined ? 0 : at(added), at(dx), dim];
    parallelFor(backend, wasmSource, 'backward', args, { count: rows, cost: 0.7 * dim });
    return dx;
  },
  webgpu: ({ inputs, backend }) => {
    const { x, w, rstd, added } = inputs as Record<'x' | 'w' | 'rstd', tf.TensorInfo> & { added?: tf.TensorInfo };
    const [rows, dim] = x.shape as [number, number];
    const parts = partsIn(inputs as Record<string, tf.TensorInfo>);
    const dx = gpuOutput(backend, [rows, dim]);
    const others = added === undefined ? [] : [added];
    const counts = { n: parts.length, a: others.length };
    const program = { name: `rms-norm/backward ${counts.n} ${counts.a}`, code: () => forEach(wgsl.backward, counts) };
    gpuDispatch(backend, program, [...parts, x, w, rstd, ...others, dx], [['u', rows], ['u', dim]], gpuWorkgroups(rows, 1));
    return dx;
  },
  gradient: null,
};

/** dw; runs only where the weight is trained. */
export const rmsNormWeightGradOp: Op = {
  name: 'LowrankRmsNormWeightGrad',
  reference: (inputs) => rmsNormWeightGradReference(sumParts(inputs), inputs['x'] as tf.Tensor2D, inputs['rstd'] as tf.Tensor1D),
  wasm: ({ inputs, backend }) => {
    const { x, rstd } = inputs as Record<'x' | 'rstd', tf.TensorInfo>;
    const [rows, dim] = x.shape as [number, number];
    const dw = wasmOutput(backend, [dim]);
    const pointers = [x, rstd, dw].map((t) => wasmOffset(backend, t));
    const args = [...partPointers(backend, inputs as Record<string, tf.TensorInfo>), ...pointers, rows, dim];
    parallelFor(backend, wasmSource, 'weights', args, { count: dim, cost: 0.4 * rows, align: 16 });
    return dw;
  },
  webgpu: ({ inputs, backend }) => {
    const { x, rstd } = inputs as Record<'x' | 'rstd', tf.TensorInfo>;
    const [rows, dim] = x.shape as [number, number];
    const parts = partsIn(inputs as Record<string, tf.TensorInfo>);
    const dw = gpuOutput(backend, [dim]);
    const program = { name: `rms-norm/weights ${parts.length}`, code: () => forEach(wgsl.weights, { n: parts.length }) };
    gpuDispatch(backend, program, [...parts, x, rstd, dw], [['u', rows], ['u', dim]], [Math.ceil(dim / COLUMNS), 1, 1]);
    return dw;
  },
  gradient: null,
};
