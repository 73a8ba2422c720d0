import * as tf from '@tensorflow/tfjs-core';
import { forEach } from '../runtime/webgpu/repeat-lines.js';
import type { Op } from '../runtime/op.js';
import { partPointers, partsIn, sumParts } from '../runtime/gradients/summands.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmOffset, wasmOutput } from '../runtime/wasm/module.js';
import { gpuDispatch, gpuOutput, gpuWorkgroups } from '../runtime/webgpu/dispatch.js';
import { rmsNormGradReference, rmsNormWeightGradReference } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/** Columns that a workgroup of weights.wgsl sums. */
const COLUMNS = 16;

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
    const args = [
      ...partPointers(backend, inputs as Record<string, tf.TensorInfo>),
      at(x),
      at(w),
      at(rstd),
      added === undefined ? 0 : at(added),
      at(dx),
      dim,
    ];
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
    gpuDispatch(
      backend,
      program,
      [...parts, x, w, rstd, ...others, dx],
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

/** dw; runs only where the weight is trained. */
export const rmsNormWeightGradOp: Op = {
  name: 'LowrankRmsNormWeightGrad',
  reference: (inputs) =>
    rmsNormWeightGradReference(sumParts(inputs), inputs['x'] as tf.Tensor2D, inputs['rstd'] as tf.Tensor1D),
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
    const program = {
      name: `rms-norm/weights ${parts.length}`,
      code: () => forEach(wgsl.weights, { n: parts.length }),
    };
    gpuDispatch(
      backend,
      program,
      [...parts, x, rstd, dw],
      [
        ['u', rows],
        ['u', dim],
      ],
      [Math.ceil(dim / COLUMNS), 1, 1],
    );
    return dw;
  },
  gradient: null,
};
