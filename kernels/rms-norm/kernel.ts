import * as tf from '@tensorflow/tfjs-core';
import { forEach } from '../runtime/webgpu/repeat-lines.js';
import { runOp, runOpMulti, shared, type Op } from '../runtime/op.js';
import { gradientParts, namedParts } from '../runtime/gradients/summands.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmOffset, wasmOutput } from '../runtime/wasm/module.js';
import { gpuDispatch, gpuOutput, gpuWorkgroups } from '../runtime/webgpu/dispatch.js';
import { rmsNormGradOp, rmsNormWeightGradOp } from './backward.js';
import { rmsNormReference } from './reference.js';
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
  tf.util.assert(
    x.rank === 2 && w.shape[0] === x.shape[1],
    () => `rmsNorm: x is [${x.shape.join(', ')}], w is [${w.shape.join(', ')}]`,
  );
  const [y, rstd] = runOpMulti(rmsNormOp, { x, w }, { eps }) as [tf.Tensor2D, tf.Tensor1D];
  rstd.dispose();
  return y;
}

/**
 * A residual connection and the normalisation behind it, in one pass: sum = x + added, y as rmsNorm gives it for the
 * sum.
 *
 * @param x, added `[rows, dim]` float32
 * @param w `[dim]` float32
 * @returns [sum, y], both `[rows, dim]`
 */
export function addRmsNorm(
  x: tf.Tensor2D,
  added: tf.Tensor2D,
  w: tf.Tensor1D,
  eps: number,
): [sum: tf.Tensor2D, y: tf.Tensor2D] {
  const fits = tf.util.arraysEqual(x.shape, added.shape) && w.shape[0] === x.shape[1];
  tf.util.assert(
    fits,
    () =>
      `addRmsNorm: x is [${x.shape.join(', ')}], added is [${added.shape.join(', ')}], w is [${w.shape.join(', ')}]`,
  );
  const [y, sum, rstd] = runOpMulti(addRmsNormOp, { x, added, w }, { eps }) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D];
  rstd.dispose();
  return [sum, y];
}

export const rmsNormOp: Op = {
  name: 'LowrankRmsNorm',
  reference: (inputs, attrs) =>
    rmsNormReference(inputs['x'] as tf.Tensor2D, inputs['w'] as tf.Tensor1D, attrs['eps'] as number),
  wasm: ({ inputs, attrs, backend }) => {
    const { x, w } = inputs as { x: tf.TensorInfo; w: tf.TensorInfo };
    const [rows, dim] = x.shape as [number, number];
    const y = wasmOutput(backend, [rows, dim]);
    const rstd = wasmOutput(backend, [rows]);
    const at = (t: tf.TensorInfo): number => wasmOffset(backend, t);
    parallelFor(backend, wasmSource, 'forward', [at(x), at(w), at(y), at(rstd), dim, attrs['eps'] as number], {
      count: rows,
      cost: 0.4 * dim,
    });
    return [y, rstd];
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { x, w } = inputs as { x: tf.TensorInfo; w: tf.TensorInfo };
    const [rows, dim] = x.shape as [number, number];
    const y = gpuOutput(backend, [rows, dim]);
    const rstd = gpuOutput(backend, [rows]);
    const program = { name: 'rms-norm/forward', code: () => forEach(wgsl.forward, { a: 0 }) };
    gpuDispatch(
      backend,
      program,
      [x, w, y, rstd],
      [
        ['u', rows],
        ['u', dim],
        ['f', attrs['eps'] as number],
      ],
      gpuWorkgroups(rows, 1),
    );
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

/** Outputs y, the sum, and rstd. */
export const addRmsNormOp: Op = {
  name: 'LowrankAddRmsNorm',
  reference: (inputs, attrs) => {
    const { x, added, w } = inputs as Record<'x' | 'added' | 'w', tf.Tensor>;
    const sum = tf.add<tf.Tensor2D>(x, added);
    const [y, rstd] = rmsNormReference(sum, w as tf.Tensor1D, attrs['eps'] as number);
    return [y, sum, rstd];
  },
  wasm: ({ inputs, attrs, backend }) => {
    const { x, added, w } = inputs as Record<'x' | 'added' | 'w', tf.TensorInfo>;
    const [rows, dim] = x.shape as [number, number];
    const [y, sum, rstd] = [
      wasmOutput(backend, [rows, dim]),
      wasmOutput(backend, [rows, dim]),
      wasmOutput(backend, [rows]),
    ];
    const pointers = [x, added, w, sum, y, rstd].map((t) => wasmOffset(backend, t));
    parallelFor(backend, wasmSource, 'addForward', [...pointers, dim, attrs['eps'] as number], {
      count: rows,
      cost: 0.6 * dim,
    });
    return [y, sum, rstd];
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { x, added, w } = inputs as Record<'x' | 'added' | 'w', tf.TensorInfo>;
    const [rows, dim] = x.shape as [number, number];
    const [y, sum, rstd] = [
      gpuOutput(backend, [rows, dim]),
      gpuOutput(backend, [rows, dim]),
      gpuOutput(backend, [rows]),
    ];
    const program = { name: 'rms-norm/add-forward', code: () => forEach(wgsl.forward, { a: 1 }) };
    gpuDispatch(
      backend,
      program,
      [x, w, y, rstd, added, sum],
      [
        ['u', rows],
        ['u', dim],
        ['f', attrs['eps'] as number],
      ],
      gpuWorkgroups(rows, 1),
    );
    return [y, sum, rstd];
  },
  gradient: {
    inputsToSave: ['w'],
    outputsToSave: [false, true, true],
    gradFunc: (dys, saved) => {
      const parts = namedParts(gradientParts(dys));
      const dsum = (dys as tf.Tensor[])[1] as tf.Tensor;
      const [w, x, rstd] = saved as [tf.Tensor1D, tf.Tensor2D, tf.Tensor1D];
      const dx = shared(() => runOp(rmsNormGradOp, { ...parts, x, w, rstd, added: dsum }));
      return { x: dx, added: dx, w: () => runOp(rmsNormWeightGradOp, { ...parts, x, rstd }) };
    },
  },
  sumsInto: [],
};
