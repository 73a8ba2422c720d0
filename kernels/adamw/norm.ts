import * as tf from '@tensorflow/tfjs-core';
import { chunks, forEach, itemsPerDispatch } from '../runtime/each.js';
import { runOp, type Op } from '../runtime/op.js';
import { wasmExports, wasmOffset, wasmOutput } from '../runtime/wasm.js';
import { gpuDispatch, gpuOutput, gpuRelease } from '../runtime/webgpu.js';
import { globalNormReference } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

interface NormWasm {
  sumOfSquares(tensor: number, begin: number, end: number): number;
  storeRoot(out: number, sum: number): void;
}

/**
 * √(Σ‖t‖²) over all tensors: the norm of their concatenation. Stays on the device.
 *
 * @param tensors any shapes, float32; none gives 0
 */
export function globalNorm(tensors: readonly tf.Tensor[]): tf.Scalar {
  if (tensors.length === 0) return tf.scalar(0);
  return runOp(globalNormOp, Object.fromEntries(tensors.map((t, i) => [`t${i}`, t]))) as tf.Scalar;
}

/** min(1, maxNorm / (norm + 1e-6)): the factor with which torch's clip_grad_norm_ multiplies gradients. Stays on the device. */
export function clipScale(norm: tf.Scalar, maxNorm: number): tf.Scalar {
  return tf.tidy(() => tf.minimum(1, tf.div(maxNorm, tf.add(norm, 1e-6))));
}

export const globalNormOp: Op = {
  name: 'LowrankGlobalNorm',
  reference: (inputs) => globalNormReference(Object.values(inputs)),
  wasm: ({ inputs, backend }) => {
    const norm = wasmOutput(backend, []);
    const module = wasmExports<NormWasm>(backend, wasmSource);
    let sum = 0;
    for (const t of tensorsOf(inputs)) sum += module.sumOfSquares(wasmOffset(backend, t), 0, tf.util.sizeFromShape(t.shape));
    module.storeRoot(wasmOffset(backend, norm), sum);
    return norm;
  },
  webgpu: ({ inputs, backend }) => {
    const tensors = tensorsOf(inputs);
    const sizes = tensors.map((t) => tf.util.sizeFromShape(t.shape));
    // Workgroups a tensor: some 4096 values each, and few enough partial sums for one workgroup to add up.
    const parts = Math.min(64, Math.ceil(Math.max(...sizes) / 4096)) || 1;
    const partials = gpuOutput(backend, [tensors.length * parts]);
    const perDispatch = itemsPerDispatch(backend, 1, 1);
    chunks(tensors, perDispatch).forEach((batch, k) => {
      const first = k * perDispatch;
      const counts = sizes.slice(first, first + perDispatch);
      const params = [first, 0, 0, 0, ...counts].map((value) => ['u', value] as const);
      const program = { name: `adamw/squares ${batch.length}`, code: () => forEach(wgsl.squares, { n: batch.length }) };
      gpuDispatch(backend, program, [...batch, partials], params, [parts, batch.length, 1]);
    });
    const norm = gpuOutput(backend, []);
    gpuDispatch(backend, { name: 'adamw/root', code: wgsl.root }, [partials, norm], [['u', tensors.length * parts]], [1, 1, 1]);
    gpuRelease(backend, partials);
    return norm;
  },
  gradient: null,
};

function tensorsOf(inputs: Record<string, unknown>): tf.TensorInfo[] {
  return Object.values(inputs) as tf.TensorInfo[];
}
