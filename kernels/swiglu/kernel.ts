import * as tf from '@tensorflow/tfjs-core';
import { runOp, runOpMulti, sharedMany, type Op } from '../runtime/op.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmOffset, wasmOutput, wasmScratchBytes } from '../runtime/wasm/module.js';
import { gpuDispatch, gpuOutput, gpuWorkgroups } from '../runtime/webgpu/dispatch.js';
import { activationCode } from './activation.js';
import { swigluGradReference, swigluReference, type Activation } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/**
 * Gated linear unit: y = act(gate) · up, elementwise.
 *
 * @param gate `[rows, dim]` float32
 * @param up `[rows, dim]` float32
 * @returns `[rows, dim]`
 * Source: Shazeer 2020, arXiv:2002.05202 (SwiGLU is `silu`, GEGLU `gelu`).
 */
export function swiglu(gate: tf.Tensor2D, up: tf.Tensor2D, activation: Activation = 'silu'): tf.Tensor2D {
  tf.util.assert(
    tf.util.arraysEqual(gate.shape, up.shape),
    () => `swiglu: gate is [${gate.shape.join(', ')}], up is [${up.shape.join(', ')}]`,
  );
  return runOp(swigluOp, { gate, up }, { activation }) as tf.Tensor2D;
}

export const swigluOp: Op = {
  name: 'LowrankSwiglu',
  reference: (inputs, attrs) =>
    swigluReference(inputs['gate'] as tf.Tensor, inputs['up'] as tf.Tensor, attrs['activation'] as Activation),
  wasm: ({ inputs, attrs, backend }) => {
    const { gate, up } = inputs as Record<'gate' | 'up', tf.TensorInfo>;
    const y = wasmOutput(backend, gate.shape);
    const at = (t: tf.TensorInfo): number => wasmOffset(backend, t);
    parallelFor(backend, wasmSource, 'forward', [at(gate), at(up), at(y), activationCode(attrs)], {
      count: tf.util.sizeFromShape(gate.shape),
      cost: 1,
      align: 64,
      scratchBytes: wasmScratchBytes(backend, wasmSource),
    });
    return y;
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { gate, up } = inputs as Record<'gate' | 'up', tf.TensorInfo>;
    const count = tf.util.sizeFromShape(gate.shape);
    const y = gpuOutput(backend, gate.shape);
    const program = { name: 'swiglu/forward', code: wgsl.forward, constants: { ACTIVATION: activationCode(attrs) } };
    gpuDispatch(backend, program, [gate, up, y], [['u', count]], gpuWorkgroups(count, 256));
    return y;
  },
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
    swigluGradReference(
      inputs['dy'] as tf.Tensor,
      inputs['gate'] as tf.Tensor,
      inputs['up'] as tf.Tensor,
      attrs['activation'] as Activation,
    ),
  wasm: ({ inputs, attrs, backend }) => {
    const { dy, gate, up } = inputs as Record<'dy' | 'gate' | 'up', tf.TensorInfo>;
    const [dgate, dup] = [wasmOutput(backend, gate.shape), wasmOutput(backend, gate.shape)];
    const at = (t: tf.TensorInfo): number => wasmOffset(backend, t);
    const args = [at(dy), at(gate), at(up), at(dgate), at(dup), activationCode(attrs)];
    parallelFor(backend, wasmSource, 'backward', args, {
      count: tf.util.sizeFromShape(gate.shape),
      cost: 1.4,
      align: 64,
      scratchBytes: wasmScratchBytes(backend, wasmSource),
    });
    return [dgate, dup];
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { dy, gate, up } = inputs as Record<'dy' | 'gate' | 'up', tf.TensorInfo>;
    const count = tf.util.sizeFromShape(gate.shape);
    const [dgate, dup] = [gpuOutput(backend, gate.shape), gpuOutput(backend, gate.shape)];
    const program = { name: 'swiglu/backward', code: wgsl.backward, constants: { ACTIVATION: activationCode(attrs) } };
    gpuDispatch(backend, program, [dy, gate, up, dgate, dup], [['u', count]], gpuWorkgroups(count, 256));
    return [dgate, dup];
  },
  gradient: null,
};
