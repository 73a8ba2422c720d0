import * as tf from '@tensorflow/tfjs-core';
import { chunks, forEach, itemsPerDispatch } from '../runtime/webgpu/repeat-lines.js';
import { FlatTensors, type Gradients } from '../runtime/webgpu/flat.js';
import { runOp, type Op } from '../runtime/op.js';
import { finishJobs } from '../runtime/threads/threads.js';
import { wasmExports, wasmOffset, wasmOutput } from '../runtime/wasm/module.js';
import { gpuDispatch, gpuOutput, gpuRelease } from '../runtime/webgpu/dispatch.js';
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
export function globalNorm(tensors: Gradients): tf.Scalar {
  if (tensors instanceof FlatTensors) {
    const { shapes, firsts } = tensors.layout;
    const counts = shapes.map((shape) => tf.util.sizeFromShape([...shape]));
    return runOp(
      flatNormOp,
      { values: tensors.flat, places: tensors.places() },
      { firsts: [...firsts], counts },
    ) as tf.Scalar;
  }
  if (tensors.length === 0) return tf.scalar(0);
  return runOp(globalNormOp, Object.fromEntries(tensors.map((t, i) => [`t${i}`, t]))) as tf.Scalar;
}

/**
 * min(1, maxNorm / (norm + 1e-6)): the factor with which torch's clip_grad_norm_ multiplies gradients; NaN where the
 * norm is not finite. Stays on the device.
 */
export function clipScale(norm: tf.Scalar, maxNorm: number): tf.Scalar {
  // The minimum of 1 and NaN is 1 on some backends.
  return tf.tidy(() => tf.add(tf.minimum(1, tf.div(maxNorm, tf.add(norm, 1e-6))), tf.mul(norm, 0)));
}

export const globalNormOp: Op = {
  name: 'LowrankGlobalNorm',
  reference: (inputs) => globalNormReference(Object.values(inputs)),
  wasm: ({ inputs, backend }) => {
    const norm = wasmOutput(backend, []);
    const module = wasmExports<NormWasm>(backend, wasmSource);
    finishJobs(backend);
    let sum = 0;
    for (const t of tensorsOf(inputs))
      sum += module.sumOfSquares(wasmOffset(backend, t), 0, tf.util.sizeFromShape(t.shape));
    module.storeRoot(wasmOffset(backend, norm), sum);
    return norm;
  },
  webgpu: ({ inputs, backend }) => {
    const tensors = tensorsOf(inputs);
    const sizes = tensors.map((t) => tf.util.sizeFromShape(t.shape));
    const parts = partsOf(sizes);
    const partials = gpuOutput(backend, [tensors.length * parts]);
    const perDispatch = itemsPerDispatch(backend, 1, 1);
    chunks(tensors, perDispatch).forEach((batch, k) => {
      const first = k * perDispatch;
      const counts = sizes.slice(first, first + perDispatch);
      const params = [first, 0, 0, 0, ...counts].map((value) => ['u', value] as const);
      const program = { name: `adamw/squares ${batch.length}`, code: () => forEach(wgsl.squares, { n: batch.length }) };
      gpuDispatch(backend, program, [...batch, partials], params, [parts, batch.length, 1]);
    });
    return rootOf(backend, partials, tensors.length * parts);
  },
  gradient: null,
};

/**
 * The same, to the bit, of tensors that lie in one: `values` `[size]`, and `places` `[tensors, 2]` that tell where each
 * begins and its elements.
 */
export const flatNormOp: Op = {
  name: 'LowrankFlatNorm',
  reference: (inputs, attrs) => {
    const { firsts, counts } = attrs as { firsts: number[]; counts: number[] };
    return globalNormReference(
      firsts.map((first, i) => tf.slice(inputs['values'] as tf.Tensor1D, first, counts[i] as number)),
    );
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { counts } = attrs as { counts: number[] };
    const parts = partsOf(counts);
    const partials = gpuOutput(backend, [counts.length * parts]);
    gpuDispatch(
      backend,
      { name: 'adamw/flat-squares', code: wgsl.flatSquares },
      [inputs['values'] as tf.TensorInfo, inputs['places'] as tf.TensorInfo, partials],
      [],
      [parts, counts.length, 1],
    );
    return rootOf(backend, partials, counts.length * parts);
  },
  gradient: null,
};

/** Workgroups a tensor: some 4096 values each, and few enough partial sums for one workgroup to add up. */
function partsOf(counts: readonly number[]): number {
  return Math.min(64, Math.ceil(Math.max(...counts) / 4096)) || 1;
}

/** √(Σ partials), which it releases. */
function rootOf(backend: unknown, partials: tf.TensorInfo, count: number): tf.TensorInfo {
  const norm = gpuOutput(backend, []);
  gpuDispatch(backend, { name: 'adamw/root', code: wgsl.root }, [partials, norm], [['u', count]], [1, 1, 1]);
  gpuRelease(backend, partials);
  return norm;
}

function tensorsOf(inputs: Record<string, unknown>): tf.TensorInfo[] {
  return Object.values(inputs) as tf.TensorInfo[];
}
