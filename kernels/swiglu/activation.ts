import * as tf from '@tensorflow/tfjs-core';
import { runOp, type Attrs, type Op } from '../runtime/op.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmOffset, wasmOutput, wasmScratchBytes } from '../runtime/wasm/module.js';
import { gpuDispatch, gpuOutput, gpuWorkgroups } from '../runtime/webgpu/dispatch.js';
import { activateGradReference, activateReference, type Activation } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/** How the kernels number the activations. */
const CODES: Readonly<Record<Activation, number>> = { silu: 0, gelu: 1, gelu_tanh: 2, relu: 3 };

export type { Activation } from './reference.js';

/**
 * A non-linearity without a gate: y = act(x), elementwise.
 *
 * @param x any shape, float32
 * @returns the shape of x
 * Source: Hendrycks & Gimpel 2016, arXiv:1606.08415 (`gelu`, `gelu_tanh`, `silu`).
 */
export function gelu<T extends tf.Tensor>(x: T, activation: Activation = 'gelu'): T {
  return runOp(activationOp, { x }, { activation }) as T;
}

export const activationOp: Op = {
  name: 'LowrankActivation',
  reference: (inputs, attrs) => activateReference(inputs['x'] as tf.Tensor, attrs['activation'] as Activation),
  wasm: ({ inputs, attrs, backend }) => {
    const { x } = inputs as Record<'x', tf.TensorInfo>;
    const y = wasmOutput(backend, x.shape);
    const pointers = [x, y].map((t) => wasmOffset(backend, t));
    parallelFor(backend, wasmSource, 'activate', [...pointers, activationCode(attrs)], {
      count: tf.util.sizeFromShape(x.shape),
      cost: 1.2,
      align: 64,
      scratchBytes: wasmScratchBytes(backend, wasmSource),
    });
    return y;
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { x } = inputs as Record<'x', tf.TensorInfo>;
    const count = tf.util.sizeFromShape(x.shape);
    const y = gpuOutput(backend, x.shape);
    const program = { name: 'swiglu/activate', code: wgsl.activate, constants: { ACTIVATION: activationCode(attrs) } };
    gpuDispatch(backend, program, [x, y], [['u', count]], gpuWorkgroups(count, 256));
    return y;
  },
  gradient: {
    inputsToSave: ['x'],
    gradFunc: (dys, saved, attrs) => {
      const [dy, x] = [dys as tf.Tensor, saved[0] as tf.Tensor];
      return { x: () => runOp(activationGradOp, { dy, x }, attrs) };
    },
  },
};

export const activationGradOp: Op = {
  name: 'LowrankActivationGrad',
  reference: (inputs, attrs) =>
    activateGradReference(inputs['dy'] as tf.Tensor, inputs['x'] as tf.Tensor, attrs['activation'] as Activation),
  wasm: ({ inputs, attrs, backend }) => {
    const { dy, x } = inputs as Record<'dy' | 'x', tf.TensorInfo>;
    const dx = wasmOutput(backend, x.shape);
    const pointers = [dy, x, dx].map((t) => wasmOffset(backend, t));
    parallelFor(backend, wasmSource, 'activateBackward', [...pointers, activationCode(attrs)], {
      count: tf.util.sizeFromShape(x.shape),
      cost: 1.6,
      align: 64,
      scratchBytes: wasmScratchBytes(backend, wasmSource),
    });
    return dx;
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { dy, x } = inputs as Record<'dy' | 'x', tf.TensorInfo>;
    const count = tf.util.sizeFromShape(x.shape);
    const dx = gpuOutput(backend, x.shape);
    const program = {
      name: 'swiglu/activate-backward',
      code: wgsl.activateBackward,
      constants: { ACTIVATION: activationCode(attrs) },
    };
    gpuDispatch(backend, program, [dy, x, dx], [['u', count]], gpuWorkgroups(count, 256));
    return dx;
  },
  gradient: null,
};

/** The number by which the kernels know an op's activation. */
export function activationCode(attrs: Attrs): number {
  return CODES[attrs['activation'] as Activation];
}
