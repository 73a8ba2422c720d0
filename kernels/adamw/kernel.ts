import * as tf from '@tensorflow/tfjs-core';
import { chunks, forEach, itemsPerDispatch } from '../runtime/webgpu/repeat-lines.js';
import { runOpMulti, writesInPlace, type Attrs, type Op } from '../runtime/op.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmOffset } from '../runtime/wasm/module.js';
import { gpuDispatch, gpuInPlace, gpuUniform, gpuWorkgroups, type GpuParams } from '../runtime/webgpu/dispatch.js';
import { adamwReference, type Hyper, type ItemHyper } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/** One parameter with its gradient and moments, all of one shape, float32. */
export interface AdamwItem {
  readonly parameter: tf.Variable;
  readonly gradient: tf.Tensor;
  /** First moment; zeros before the first step. */
  readonly m: tf.Variable;
  /** Second moment; zeros before the first step. */
  readonly v: tf.Variable;
  /** A factor for the learning rate of this parameter. Default 1. */
  readonly learningRateScale?: number;
  /** Instead of the options' own. */
  readonly weightDecay?: number;
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

interface AdamwAttrs {
  readonly hyper: Hyper;
  readonly items: readonly ItemHyper[];
}

/**
 * One AdamW step on every item, torch's numbers: g = gradientScale · gradient; p ← p · (1 − lr·wd); m ← m + (1 − β₁)(g
 * − m); v ← β₂·v + (1 − β₂)·g²; p ← p − lr/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε). Variables are written in place where
 * the backend has a kernel; the gradients stay the caller's.
 *
 * @param gradientScale a factor for the gradients; a scalar tensor (a clip factor) is not read back
 * @throws Error when shapes differ or step is below 1
 * Source: Loshchilov & Hutter 2019, arXiv:1711.05101.
 */
export function adamwUpdate(
  items: readonly AdamwItem[],
  options: AdamwOptions,
  gradientScale: number | tf.Scalar = 1,
): void {
  const { beta1, beta2, epsilon, step } = options;
  tf.util.assert(Number.isInteger(step) && step >= 1, () => `adamwUpdate: step ${step} is not 1 or more`);
  for (const { parameter, gradient, m, v } of items) {
    const shapes = [gradient, m, v].map((t) => t.shape);
    tf.util.assert(
      shapes.every((s) => tf.util.arraysEqual(s, parameter.shape)),
      () =>
        `adamwUpdate: '${parameter.name}' is [${parameter.shape.join(', ')}] but its gradient and moments are ${JSON.stringify(shapes)}`,
    );
  }
  const hyper: Hyper = {
    oneMinusBeta1: 1 - beta1,
    beta2,
    oneMinusBeta2: 1 - beta2,
    rootCorrection2: Math.sqrt(1 - beta2 ** step),
    epsilon,
  };
  const scale = typeof gradientScale === 'number' ? tf.scalar(gradientScale) : gradientScale;
  // The reference makes new tensors, of one item at a time.
  for (const together of chunks(items, writesInPlace(adamwOp) ? Math.max(1, items.length) : 1)) {
    const inputs: Record<string, tf.Tensor> = { scale };
    const variables = together.flatMap(({ parameter, gradient, m, v }, i) => {
      for (const variable of [parameter, m, v]) own(variable);
      Object.assign(inputs, { [`p${i}`]: parameter, [`g${i}`]: gradient, [`m${i}`]: m, [`v${i}`]: v });
      return [parameter, m, v];
    });
    const attrs: AdamwAttrs = { hyper, items: together.map((item) => itemHyper(item, options)) };
    const next = runOpMulti(adamwOp, inputs, attrs as unknown as Attrs);
    next.forEach((value, i) => {
      variables[i]?.assign(value);
      value.dispose();
    });
  }
  if (scale !== gradientScale) scale.dispose();
}

function itemHyper({ learningRateScale = 1, weightDecay }: AdamwItem, options: AdamwOptions): ItemHyper {
  const learningRate = options.learningRate * learningRateScale;
  return {
    decay: 1 - learningRate * (weightDecay ?? options.weightDecay),
    stepSize: learningRate / (1 - options.beta1 ** options.step),
  };
}

/**
 * Gives a variable memory of its own: one made from a tensor, or cloned, shares it, and an update in place would reach
 * both.
 */
function own(variable: tf.Variable): void {
  if (tf.backend().refCount(variable.dataId) <= 1) return;
  const copy = tf.mul(variable, 1);
  variable.assign(copy);
  copy.dispose();
}

/**
 * Inputs p, g, m, v of each item, numbered, and scale. Outputs the new p, m, v of each, or nothing where the kernel has
 * written them over the old ones.
 */
export const adamwOp: Op = {
  name: 'LowrankAdamW',
  reference: (inputs, attrs) => {
    const { hyper, items } = attrs as unknown as AdamwAttrs;
    return items.flatMap((item, i) => {
      const [p, g, m, v] = tensorsOf(inputs, i) as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      return adamwReference(p, g, m, v, inputs['scale'] as tf.Scalar, hyper, item);
    });
  },
  wasm: ({ inputs, attrs, backend }) => {
    const { hyper, items } = attrs as unknown as AdamwAttrs;
    const scale = wasmOffset(backend, inputs['scale'] as tf.TensorInfo);
    items.forEach(({ decay, stepSize }, i) => {
      const tensors = tensorsOf(inputs, i) as [tf.TensorInfo, ...tf.TensorInfo[]];
      const constants = [
        decay,
        hyper.oneMinusBeta1,
        hyper.beta2,
        hyper.oneMinusBeta2,
        hyper.rootCorrection2,
        hyper.epsilon,
        stepSize,
      ];
      const args = [...tensors.map((t) => wasmOffset(backend, t)), scale, ...constants];
      parallelFor(backend, wasmSource, 'step', args, {
        count: tf.util.sizeFromShape(tensors[0].shape),
        cost: 1.5,
        align: 64,
      });
    });
    return [];
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { hyper, items } = attrs as unknown as AdamwAttrs;
    const numbered = items.map((item, i) => {
      const tensors = tensorsOf(inputs, i) as [tf.TensorInfo, ...tf.TensorInfo[]];
      return { ...item, tensors, count: tf.util.sizeFromShape(tensors[0].shape) };
    });
    // The longest tensor of a dispatch sets its size: those of a kind go together.
    numbered.sort((a, b) => b.count - a.count);
    // A uniform, not a storage buffer: of these many devices allow eight, which are two items.
    const scale = gpuUniform(backend, 'adamw/scale', inputs['scale'] as tf.TensorInfo);
    for (const group of chunks(numbered, itemsPerDispatch(backend, 4, 0))) {
      for (const {
        tensors: [p, , m, v],
      } of group)
        for (const written of [p, m, v] as tf.TensorInfo[]) gpuInPlace(backend, written);
      const program = {
        name: `adamw/step ${group.length}`,
        code: () => forEach(wgsl.step, { n: group.length }),
        transientParams: true,
      };
      const common = [
        hyper.oneMinusBeta1,
        hyper.beta2,
        hyper.oneMinusBeta2,
        hyper.rootCorrection2,
        hyper.epsilon,
        0,
        0,
        0,
      ].map((value) => ['f', value] as const);
      const each = group.flatMap(({ count, decay, stepSize }): GpuParams => [
        ['u', count],
        ['f', decay],
        ['f', stepSize],
        ['u', 0],
      ]);
      const [x, y] = gpuWorkgroups(Math.max(...group.map(({ count }) => count)), 256);
      gpuDispatch(
        backend,
        program,
        group.flatMap(({ tensors }) => tensors),
        [...common, ...each],
        [x, y, group.length],
        [scale],
      );
    }
    return [];
  },
  gradient: null,
};

/** p, g, m, v of one item. */
function tensorsOf<T>(inputs: Record<string, T>, item: number): T[] {
  return ['p', 'g', 'm', 'v'].map((name) => inputs[`${name}${item}`] as T);
}
