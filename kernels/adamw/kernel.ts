import * as tf from '@tensorflow/tfjs-core';
import { runOpMulti, type Op } from '../runtime/op.js';
import { parallelFor } from '../runtime/threads.js';
import { wasmOffset } from '../runtime/wasm.js';
import { gpuDispatch, gpuInPlace, gpuWorkgroups } from '../runtime/webgpu.js';
import { adamwReference, HYPER, HYPER_SIZE } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

type AdamwInputs = Record<'p' | 'g' | 'm' | 'v' | 'hyper' | 'scale', tf.TensorInfo>;

/** One parameter with its gradient and moments, all of one shape, float32. */
export interface AdamwItem {
  readonly parameter: tf.Variable;
  readonly gradient: tf.Tensor;
  /** First moment; zeros before the first step. */
  readonly m: tf.Variable;
  /** Second moment; zeros before the first step. */
  readonly v: tf.Variable;
}

export interface AdamwOptions {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** The number of this update, from 1. */
  readonly step: number;
}

/**
 * One AdamW step on every item, torch's numbers: g = gradientScale · gradient; p ← p · (1 − lr·wd); m ← m + (1 − β₁)(g − m);
 * v ← β₂·v + (1 − β₂)·g²; p ← p − lr/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε). Variables are written in place where the backend has
 * a kernel; the gradients stay the caller's.
 *
 * @param gradientScale a factor for the gradients; a scalar tensor (a clip factor) is not read back
 * @throws Error when shapes differ or step is below 1
 * Source: Loshchilov & Hutter 2019, arXiv:1711.05101.
 */
export function adamwUpdate(items: readonly AdamwItem[], options: AdamwOptions, gradientScale: number | tf.Scalar = 1): void {
  tf.util.assert(Number.isInteger(options.step) && options.step >= 1, () => `adamwUpdate: step ${options.step} is not 1 or more`);
  const hyper = tf.tensor1d(hyperParameters(options));
  const scale = typeof gradientScale === 'number' ? tf.scalar(gradientScale) : gradientScale;
  for (const { parameter, gradient, m, v } of items) {
    const shapes = [gradient, m, v].map((t) => t.shape);
    tf.util.assert(shapes.every((s) => tf.util.arraysEqual(s, parameter.shape)), () => `adamwUpdate: '${parameter.name}' is [${parameter.shape.join(', ')}] but its gradient and moments are ${JSON.stringify(shapes)}`);
    for (const variable of [parameter, m, v]) own(variable);
    const next = runOpMulti(adamwOp, { p: parameter, g: gradient, m, v, hyper, scale });
    [parameter, m, v].forEach((variable, i) => {
      const value = next[i];
      if (value === undefined) return;
      variable.assign(value);
      value.dispose();
    });
  }
  hyper.dispose();
  if (scale !== gradientScale) scale.dispose();
}

/** A step's constants in float64, rounded once to float32. */
function hyperParameters({ learningRate, beta1, beta2, epsilon, weightDecay, step }: AdamwOptions): Float32Array {
  const hyper = new Float32Array(HYPER_SIZE);
  hyper[HYPER.decay] = 1 - learningRate * weightDecay;
  hyper[HYPER.oneMinusBeta1] = 1 - beta1;
  hyper[HYPER.beta2] = beta2;
  hyper[HYPER.oneMinusBeta2] = 1 - beta2;
  hyper[HYPER.rootCorrection2] = Math.sqrt(1 - beta2 ** step);
  hyper[HYPER.epsilon] = epsilon;
  hyper[HYPER.stepSize] = learningRate / (1 - beta1 ** step);
  return hyper;
}

/** Gives a variable memory of its own: one made from a tensor, or cloned, shares it, and an update in place would reach both. */
function own(variable: tf.Variable): void {
  if (tf.backend().refCount(variable.dataId) <= 1) return;
  const copy = tf.mul(variable, 1);
  variable.assign(copy);
  copy.dispose();
}

/** Outputs the new [p, m, v], or nothing where the kernel has written them over the old ones. */
export const adamwOp: Op = {
  name: 'LowrankAdamW',
  reference: ({ p, g, m, v, hyper, scale }) =>
    adamwReference(p as tf.Tensor, g as tf.Tensor, m as tf.Tensor, v as tf.Tensor, hyper as tf.Tensor1D, scale as tf.Scalar),
  wasm: ({ inputs, backend }) => {
    const { p, g, m, v, hyper, scale } = inputs as AdamwInputs;
    const args = [p, g, m, v, hyper, scale].map((t) => wasmOffset(backend, t));
    parallelFor(backend, wasmSource, 'step', args, { count: tf.util.sizeFromShape(p.shape), cost: 1.5, align: 64 });
    return [];
  },
  webgpu: ({ inputs, backend }) => {
    const { p, g, m, v, hyper, scale } = inputs as AdamwInputs;
    const count = tf.util.sizeFromShape(p.shape);
    for (const written of [p, m, v]) gpuInPlace(backend, written);
    // Constants that change with every step come in a tensor: uniform buffers are kept for good.
    gpuDispatch(backend, { name: 'adamw/step', code: wgsl.step }, [p, g, m, v, hyper, scale], [['u', count]], gpuWorkgroups(count, 256));
    return [];
  },
  gradient: null,
};
