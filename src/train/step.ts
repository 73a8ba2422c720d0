import * as tf from '@tensorflow/tfjs-core';
import { clipScale, globalNorm, valueAndGradients } from '../../kernels/index.js';
import type { Decoder } from '../model/decoder.js';
import { batchLossSum, type LabelledBatch, type LossOptions } from '../model/loss.js';
import type { Optimizer } from './optimizer.js';

/** A micro-batch and how many predictions of it enter the loss. */
export interface MicroBatch extends LabelledBatch {
  readonly supervisedCount: number;
}

export interface StepOptions {
  readonly learningRate: number;
  /** Gradients are scaled down to this global norm; 0 leaves them alone. */
  readonly maxGradNorm: number;
  /** Forward options of micro-batch k. */
  readonly lossOptions?: (k: number) => LossOptions;
}

/**
 * Loss and gradients of one optimiser step over its micro-batches: L = Σ token losses of all / N, N the number of supervised tokens in
 * all of them together, so that how rows are spread over micro-batches does not matter.
 * @returns loss (scalar) and one gradient a parameter, the caller's to dispose.
 */
export function lossAndGradients(
  decoder: Decoder,
  parameters: readonly tf.Tensor[],
  batches: readonly MicroBatch[],
  lossOptions: (k: number) => LossOptions = () => ({}),
): { loss: tf.Scalar; gradients: tf.Tensor[] } {
  const itemCount = batches.reduce((sum, b) => sum + b.supervisedCount, 0);
  let sum: { loss: tf.Scalar; gradients: tf.Tensor[] } | undefined;
  batches.forEach((batch, k) => {
    const { value, gradients } = valueAndGradients(() => tf.mul(batchLossSum(decoder, batch, lossOptions(k)), 1 / itemCount), parameters);
    sum = sum === undefined ? { loss: value, gradients } : add(sum, value, gradients);
  });
  if (sum === undefined) throw new Error('a step needs at least one micro-batch');
  return sum;
}

/** One optimiser step. @returns `[2]`: the loss, and the global norm of the gradients before clipping; not read back here. */
export async function trainStep(
  decoder: Decoder,
  optimizer: Optimizer,
  parameters: readonly tf.Variable[],
  batches: readonly MicroBatch[],
  options: StepOptions,
): Promise<tf.Tensor1D> {
  const { loss, gradients } = lossAndGradients(decoder, parameters, batches, options.lossOptions);
  const norm = globalNorm(gradients);
  const scale = options.maxGradNorm > 0 ? clipScale(norm, options.maxGradNorm) : 1;
  const paging = optimizer.step(gradients, options.learningRate, scale);
  // Nothing is waited for unless it has to be: the step is then done when this call returns.
  if (paging !== undefined) await paging;
  const report = tf.stack([loss, norm]) as tf.Tensor1D;
  tf.dispose([loss, norm, gradients]);
  if (typeof scale !== 'number') scale.dispose();
  return report;
}

function add(sum: { loss: tf.Scalar; gradients: tf.Tensor[] }, value: tf.Scalar, gradients: readonly tf.Tensor[]): { loss: tf.Scalar; gradients: tf.Tensor[] } {
  const next = { loss: tf.add(sum.loss, value) as tf.Scalar, gradients: sum.gradients.map((g, i) => tf.add(g, gradients[i] as tf.Tensor)) };
  tf.dispose([sum.loss, sum.gradients, value, gradients as tf.Tensor[]]);
  return next;
}
