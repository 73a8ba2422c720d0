import * as tf from '@tensorflow/tfjs-core';
import { runOp, type Op } from '../runtime/op.js';
import { wasmExports, wasmOffset, wasmOutput } from '../runtime/wasm.js';
import { gpuDispatch, gpuOutput, gpuRelease, type GpuParams } from '../runtime/webgpu.js';
import { globalNormReference } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

interface NormWasm {
  sumOfSquares(tensor: number, begin: number, end: number): number;
  storeRoot(out: number, sum: number): void;
}

/** Tensors a dispatch reads: with the result that makes the eight storage buffers that every device allows. */
const TENSORS_PER_DISPATCH = 7;

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
    for (let first = 0; first < tensors.length; first += TENSORS_PER_DISPATCH) {
      const batch = tensors.slice(first, first + TENSORS_PER_DISPATCH);
      const slots = Array.from({ length: TENSORS_PER_DISPATCH }, (_, i) => i);
      const bound = slots.map((i) => batch[i] ?? (batch[0] as tf.TensorInfo));
      const params: GpuParams = [['u', first], ...slots.map((i) => ['u', i < batch.length ? (sizes[first + i] as number) : 0] as const)];
      gpuDispatch(backend, { name: 'adamw/squares', code: wgsl.squares }, [...bound, partials], params, [parts, batch.length, 1]);
    }
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
