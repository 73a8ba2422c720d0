import * as tf from '@tensorflow/tfjs-core';
import { untracked, type StepInputs } from '../../../kernels/index.js';
import type { Decoder } from '../../model/decoder.js';
import type { LabelledBatch, LossOptions } from '../../model/loss.js';

/** A micro-batch and how many of its predictions are supervised. */
export interface MicroBatch extends LabelledBatch {
  readonly supervisedCount: number;
}

/** What an objective takes from a micro-batch, on the host. */
export interface ObjectiveInputs {
  /**
   * All host values that differ between micro-batches of one shape. `lossSum` makes its tensors of these very arrays: on
   * webgpu a step is recorded once and then replayed with other arrays in their place.
   */
  readonly arrays: StepInputs;
  /**
   * Whatever else decides which ops `lossSum` runs, as text; the lengths of the arrays count by themselves. Undefined:
   * steps are never replayed.
   */
  readonly shape?: string;
}

/** What the inputs of a batch are made for. */
export interface InputOptions {
  /** False: only the value is wanted, as in an evaluation. */
  readonly training: boolean;
  /** True: arrays may get entries at their end that count for nothing, so that batches of one size have few shapes. */
  readonly fewShapes: boolean;
}

/** Forward options: dropout seed, gradient checkpointing, and whether a gradient will be asked for. */
export type ObjectiveContext = LossOptions;

/** The sum that is minimised, and further sums over the same items. */
export interface LossSums {
  /** Scalar. */
  readonly lossSum: tf.Scalar;
  /** One scalar for each of the objective's `metrics`, in that order; no gradient passes through them. */
  readonly metricSums: readonly tf.Scalar[];
}

/**
 * What a run minimises: L = Σ over the micro-batches of a step of `lossSum` / Σ of `itemCount`. The count is that of the
 * whole step, so that L does not depend on how rows are spread over micro-batches. Training, gradient checkpointing,
 * replay on webgpu, memory plans and evaluations all go through this interface and know of no loss but this.
 *
 * An objective over pairs, such as DPO's −log σ(β·((π_w − ref_w) − (π_l − ref_l))), fits in as follows. The rows 2k and
 * 2k + 1 of a batch are the chosen and the rejected answer of pair k, and `itemCount` is `batch.batch / 2`. `lossSum`
 * takes the log-probability of each row from the policy; the loss of the `[pairs]` margins is made of stock ops, which
 * are differentiable. The reference is a decoder that the objective was made with, or numbers that were measured before
 * training and are among the `arrays`. Accuracy and margin of the rewards are its `metrics`.
 *
 * See docs/recipes/objective.md for how to add one.
 */
export interface Objective<I extends ObjectiveInputs = ObjectiveInputs> {
  readonly name: string;
  /**
   * Whether the mean loss is a cross-entropy in nats per token: exp(loss) is a perplexity then, and ln V is the loss of
   * a guess among V tokens.
   */
  readonly isCrossEntropy: boolean;
  /** Names of further numbers, of which the mean over all items is logged. */
  readonly metrics: readonly string[];
  /** What a batch is counted by: the mean loss is per item. */
  itemCount(batch: MicroBatch): number;
  /** @throws ConfigError for a batch that the objective cannot take. */
  inputs(decoder: Decoder, batch: MicroBatch, options: InputOptions): I;
  /**
   * Differentiable sum of the losses of all items, scalar; with the sums of `metrics` where there are any. Called within
   * a tidy; keeps nothing and reads nothing back from the device.
   */
  lossSum(decoder: Decoder, inputs: I, context: ObjectiveContext): tf.Scalar | LossSums;
}

/**
 * The sums of a batch in one tensor: a scalar, the loss; or where the objective has metrics `[1 + metrics]`, the loss
 * first, of which only the loss has a gradient.
 */
export function objectiveSums(
  objective: Objective,
  decoder: Decoder,
  inputs: ObjectiveInputs,
  context: ObjectiveContext,
): tf.Tensor {
  return tf.tidy(() => {
    const sums = objective.lossSum(decoder, inputs, context);
    const { lossSum, metricSums } = sums instanceof tf.Tensor ? { lossSum: sums, metricSums: [] } : sums;
    if (metricSums.length !== objective.metrics.length)
      throw new Error(
        `objective ${objective.name}: ${metricSums.length} sums for ${objective.metrics.length} metrics (${objective.metrics.join(', ')})`,
      );
    if (metricSums.length === 0) return lossSum;
    return tf.stack([lossSum, ...metricSums.map((sum) => untracked(() => tf.clone(sum)))]);
  });
}
