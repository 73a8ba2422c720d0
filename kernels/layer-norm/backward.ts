import * as tf from '@tensorflow/tfjs-core';
import { forEach } from '../runtime/webgpu/repeat-lines.js';
import type { Op } from '../runtime/op.js';
import { partPointers, partsIn, sumParts } from '../runtime/gradients/summands.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmOffset, wasmOutput } from '../runtime/wasm/module.js';
import { gpuDispatch, gpuOutput, gpuWorkgroups } from '../runtime/webgpu/dispatch.js';
import { layerNormGradReference, layerNormWeightsGradReference } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/** Columns that a workgroup of weights.wgsl sums. */
const COLUMNS = 16;

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
    const args = [
      ...partPointers(backend, inputs as Record<string, tf.TensorInfo>),
      at(x),
      at(w),
      at(stats),
      added === undefined ? 0 : at(added),
      at(dx),
      dim,
    ];
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
    gpuDispatch(
      backend,
      program,
      [...parts, x, w, stats, ...others, dx],
      [
        ['u', rows],
        ['u', dim],
      ],
      gpuWorkgroups(rows, 1),
    );
    return dx;
  },
  gradient: null,
};

/** [dw, db]; runs only where a weight or bias is trained. */
export const layerNormWeightsGradOp: Op = {
  name: 'LowrankLayerNormWeightsGrad',
  reference: (inputs) =>
    layerNormWeightsGradReference(sumParts(inputs), inputs['x'] as tf.Tensor2D, inputs['stats'] as tf.Tensor2D),
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
    const program = {
      name: `layer-norm/weights ${parts.length}`,
      code: () => forEach(wgsl.weights, { n: parts.length }),
    };
    gpuDispatch(
      backend,
      program,
      [...parts, x, stats, dw, db],
      [
        ['u', rows],
        ['u', dim],
      ],
      [Math.ceil(dim / COLUMNS), 1, 1],
    );
    return [dw, db];
  },
  gradient: null,
};
