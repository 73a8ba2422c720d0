import * as tf from '@tensorflow/tfjs-core';
import { runOp, runOpMulti, sharedMany, type Op } from '../runtime/op.js';
import { swigluGradReference, swigluReference, type Activation } from './reference.js';

export type { Activation } from './reference.js';

/**
 * Gated linear unit: y = act(gate) · up, elementwise.
 *
 * @param gate `[rows, dim]` float32
 * @param up `[rows, dim]` float32
 * @returns `[rows, dim]`
 * Source: Shazeer 2020, arXiv:2002.05202 (SwiGLU is `silu`, GEGLU `gelu`).
 */
export function swiglu(gate: tf.Tensor2D, up: tf.Tensor2D, activation: Activation = 'silu'): tf.Tensor2D {
  tf.util.assert(tf.util.arraysEqual(gate.shape, up.shape), () => `swiglu: gate is [${gate.shape.join(', ')}], up is [${up.shape.join(', ')}]`);
  return runOp(swigluOp, { gate, up }, { activation }) as tf.Tensor2D;
}

export const swigluOp: Op = {
  name: 'LowrankSwiglu',
  reference: (inputs, attrs) => swigluReference(inputs['gate'] as tf.Tensor, inputs['up'] as tf.Tensor, attrs['activation'] as Activation),
  gradient: {
    inputsToSave: ['gate', 'up'],
    gradFunc: (dys, saved, attrs) => {
      const dy = dys as tf.Tensor;
      const [gate, up] = saved as [tf.Tensor, tf.Tensor];
      const output = sharedMany(() => runOpMulti(swigluGradOp, { dy, gate, up }, attrs));
      return { gate: () => output(0), up: () => output(1) };
    },
  },
};

export const swigluGradOp: Op = {
  name: 'LowrankSwigluGrad',
  reference: (inputs, attrs) =>
    swigluGradReference(inputs['dy'] as tf.Tensor, inputs['gate'] as tf.Tensor, inputs['up'] as tf.Tensor, attrs['activation'] as Activation),
  gradient: null,
};
