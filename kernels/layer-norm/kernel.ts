import * as tf from '@tensorflow/tfjs-core';
import { forEach } from '../runtime/each.js';
import { runOp, runOpMulti, sharedMany, type Op } from '../runtime/op.js';
import { gradientParts, namedParts, partPointers, partsIn, sumParts } from '../runtime/parts.js';
import { parallelFor } from '../runtime/threads.js';
import { wasmOffset, wasmOutput } from '../runtime/wasm.js';
import { gpuDispatch, gpuOutput, gpuWorkgroups } from '../runtime/webgpu.js';
import { layerNormGradReference, layerNormReference, layerNormWeightsGradReference } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/** Columns that a workgroup of weights.wgsl sums. */
const COLUMNS = 16;

/**
 * Layer normalisation: y = (x − mean(x)) / √(var(x) + eps) · weight + bias, mean and (biased) variance over the last axis.
 *
 * @param x `[rows, dim]` float32
 * @param weight `[dim]` float32
 * @param bias `[dim]` float32
 * @returns `[rows, dim]`
 * Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450.
 */
export function layerNorm(x: tf.Tensor2D, weight: tf.Tensor1D, bias: tf.Tensor1D, eps: number): tf.Tensor2D {
  const fits = x.rank === 2 && [weight, bias].every((t) => t.rank === 1 && t.shape[0] === x.shape[1]);
  tf.util.assert(fits, () => `layerNorm: x is [${x.shape.join(', ')}], weight is [${weight.shape.join(', ')}], bias is [${bias.shape.join(', ')}]`);
  const [y, stats] = runOpMulti(layerNormOp, { x, w: weight, b: bias }, { eps }) as [tf.Tensor2D, tf.Tensor2D];
  stats.dispose();
  return y;
}

/** Outputs y and, for the backward pass, (mean, 1 / √(var + eps)) of each row. */
export const layerNormOp: Op = {
  name: 'LowrankLayerNorm',
  reference: ({ x, w, b }, attrs) => layerNormReference(x as tf.Tensor2D, w as tf.Tensor1D, b as tf.Tensor1D, attrs['eps'] as number),
  wasm: ({ inputs, attrs, backend }) => {
    const { x, w, b } = inputs as Record<'x' | 'w' | 'b', tf.TensorInfo>;
    const [rows, dim] = x.shape as [number, number];
    const [y, stats] = [wasmOutput(backend, [rows, dim]), wasmOutput(backend, [rows, 2])];
    const pointers = [x, w, b, y, stats].map((t) => wasmOffset(backend, t));
    parallelFor(backend, wasmSource, 'forward', [...pointers, dim, attrs['eps'] as number], { count: rows, cost: 0.6 * dim });
    return [y, stats];
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { x, w, b } = inputs as Record<'x' | 'w' | 'b', tf.TensorInfo>;
    const [rows, dim] = x.shape as [number, number];
    const [y, stats] = [gpuOutput(backend, [rows, dim]), gpuOutput(backend, [rows, 2])];
    const program = { name: 'layer-norm/forward', code: wgsl.forward };
    gpuDispatch(backend, program, [x, w, b, y, stats], [['u', rows], ['u', dim], ['f', attrs['eps'] as number]], gpuWorkgroups(rows, 1));
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

/** dx for dy = dy0 + dy1 + …, plus `added` where that is given. */
export const layerNormGradOp: Op = {
  name: 'LowrankLayerNormGrad',
  reference: (inputs) => {
    const { x, w, stats, added } = inputs as Record<string, tf.Tensor>;
    const dx = layerNormGradReference(sumParts(inputs), x as tf.Tensor2D, w as tf.Tensor1D, stats as tf.Tensor2D);
    return added === undefined ? dx : tf.add(dx, added);
  },
  wasm: ({ inputs, backend }) => {
    const { x, w, stats, added } = inputs as Record<'x' | 'w' | 'stats', tf.TensorInfo> & { added?: tf.TensorInfo };
    const [rows, dim] = x.shape as [number, number];
    const dx = wasmOutput(backend, [rows, dim]);
    const at = (t: tf.TensorInfo): number => wasmOffset(backend, t);
    const args = [...partPointers(backend, inputs as Record<string, tf.TensorInfo>), at(x), at(w), at(stats), added === undefined ? 0 : at(added), at(dx), dim];
    parallelFor(backend, wasmSource, 'backward', args, { count: rows, cost: 0.8 * dim });
    return dx;
  },
  webgpu: ({ inputs, backend }) => {
    const { x, w, stats, added } = inputs as Record<'x' | 'w' | 'stats', tf.TensorInfo> & { added?: tf.TensorInfo };
    const [rows, dim] = x.shape as [number, number];
    const parts = partsIn(inputs as Record<string, tf.TensorInfo>);
    const dx = gpuOutput(backend, [rows, dim]);
    const others = added === undefined ? [] : [added];
    const counts = { n: parts.length, a: others.length };
    const program = { name: `layer-norm/backward ${counts.n} ${counts.a}`, code: () => forEach(wgsl.backward, counts) };
    gpuDispatch(backend, program, [...parts, x, w, stats, ...others, dx], [['u', rows], ['u', dim]], gpuWorkgroups(rows, 1));
    return dx;
  },
  gradient: null,
};

/** [dw, db]; runs only where a weight or bias is trained. */
export const layerNormWeightsGradOp: Op = {
  name: 'LowrankLayerNormWeightsGrad',
  reference: (inputs) => layerNormWeightsGradReference(sumParts(inputs), inputs['x'] as tf.Tensor2D, inputs['stats'] as tf.Tensor2D),
  wasm: ({ inputs, backend }) => {
    const { x, stats } = inputs as Record<'x' | 'stats', tf.TensorInfo>;
    const [rows, dim] = x.shape as [number, number];
    const [dw, db] = [wasmOutput(backend, [dim]), wasmOutput(backend, [dim])];
    const pointers = [x, stats, dw, db].map((t) => wasmOffset(backend, t));
    const args = [...partPointers(backend, inputs as Record<string, tf.TensorInfo>), ...pointers, rows, dim];
    parallelFor(backend, wasmSource, 'weights', args, { count: dim, cost: 0.5 * rows, align: 16 });
    return [dw, db];
  },
  webgpu: ({ inputs, backend }) => {
    const { x, stats } = inputs as Record<'x' | 'stats', tf.TensorInfo>;
    const [rows, dim] = x.shape as [number, number];
    const parts = partsIn(inputs as Record<string, tf.TensorInfo>);
    const [dw, db] = [gpuOutput(backend, [dim]), gpuOutput(backend, [dim])];
    const program = { name: `layer-norm/weights ${parts.length}`, code: () => forEach(wgsl.weights, { n: parts.length }) };
    gpuDispatch(backend, program, [...parts, x, stats, dw, db], [['u', rows], ['u', dim]], [Math.ceil(dim / COLUMNS), 1, 1]);
    return [dw, db];
  },
  gradient: null,
};
