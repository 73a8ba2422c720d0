import * as tf from '@tensorflow/tfjs-core';
import { clipScale, globalNorm, type Gradients } from '../../kernels/index.js';
import type { Decoder } from '../model/decoder.js';
import type { MicroBatch, Objective, ObjectiveContext } from './objectives/objective.js';
import { tokenMean } from './objectives/token-mean.js';
import type { Optimizer } from './optimizers/optimizer.js';
import type { GradientAccumulator, LossAndGradients } from './gradients/accumulator.js';
import { EagerAccumulator } from './gradients/eager.js';

export interface StepOptions {
  readonly learningRate: number;
  /** Gradients are scaled down to this global norm; 0 leaves them alone. */
  readonly maxGradNorm: number;
  /** Forward options of micro-batch k. */
  readonly lossOptions?: (k: number) => ObjectiveContext;
}

/**
 * Loss and gradients of one optimiser step over its micro-batches: L = Σ of the objective's sums / N, N the number of
 * its items in all of them together, so that how rows are spread over micro-batches does not matter. The caller disposes
 * all.
 */
export function lossAndGradients(
  decoder: Decoder,
  parameters: readonly tf.Tensor[],
  batches: readonly MicroBatch[],
  lossOptions: (k: number) => ObjectiveContext = () => ({}),
  objective: Objective = tokenMean,
): LossAndGradients<tf.Tensor[]> {
  const add = summing(new EagerAccumulator(decoder, parameters, objective), batches, lossOptions);
  let sum: LossAndGradients<readonly tf.Tensor[]> | undefined;
  batches.forEach((_, k) => (sum = add(sum, k)));
  const { gradients, ...sums } = required(sum);
  return { ...sums, gradients: [...gradients] };
}

/**
 * The same by an accumulator, with a pause between two micro-batches, in which signals and timers are heard; a step of many may
 * take minutes.
 * @param shouldStop undefined: without pauses
 * @returns undefined when `shouldStop` says so in a pause: the step has not been.
 */
export async function lossAndGradientsUnless(
  shouldStop: (() => boolean) | undefined,
  accumulator: GradientAccumulator,
  batches: readonly MicroBatch[],
  lossOptions: (k: number) => ObjectiveContext = () => ({}),
): Promise<LossAndGradients | undefined> {
  const add = summing(accumulator, batches, lossOptions);
  let sum: LossAndGradients | undefined;
  for (const k of batches.keys()) {
    if (sum !== undefined && shouldStop !== undefined) {
      await macrotask();
      if (shouldStop()) {
        accumulator.release(sum);
        return undefined;
      }
    }
    sum = add(sum, k);
  }
  return required(sum);
}

/**
 * One optimiser step. @returns `[2 + metrics]`: the loss, the global norm of the gradients before clipping, and the means
 * of the objective's metrics; not read back here.
 */
export async function trainStep(
  decoder: Decoder,
  optimizer: Optimizer,
  parameters: readonly tf.Variable[],
  batches: readonly MicroBatch[],
  options: StepOptions,
  objective: Objective = tokenMean,
): Promise<tf.Tensor1D> {
  return applyGradients(
    optimizer,
    new EagerAccumulator(decoder, parameters, objective),
    lossAndGradients(decoder, parameters, batches, options.lossOptions, objective),
    options,
  );
}

/**
 * The second half of a step: clips, updates, and releases loss and gradients, which the accumulator has made. @returns as
 * {@link trainStep}.
 */
export async function applyGradients(
  optimizer: Optimizer,
  accumulator: GradientAccumulator,
  sum: LossAndGradients,
  options: StepOptions,
): Promise<tf.Tensor1D> {
  const { loss, metrics, gradients } = sum;
  const norm = globalNorm(gradients);
  const scale = options.maxGradNorm > 0 ? clipScale(norm, options.maxGradNorm) : 1;
  const paging = optimizer.step(gradients, options.learningRate, scale);
  // Nothing is waited for unless it has to be: the step is then done when this call returns.
  if (paging !== undefined) await paging;
  const report = reportOf(loss, norm, metrics);
  accumulator.release(sum);
  norm.dispose();
  if (typeof scale !== 'number') scale.dispose();
  return report;
}

function reportOf(loss: tf.Scalar, norm: tf.Scalar, metrics: tf.Tensor1D | undefined): tf.Tensor1D {
  return tf.tidy(() => {
    const values = tf.stack([loss, norm]) as tf.Tensor1D;
    return metrics === undefined ? values : tf.concat1d([values, metrics]);
  });
}

/** Lets everything run that waits for the event loop. */
export function macrotask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

type AddBatch<G extends Gradients> = (sum: LossAndGradients<G> | undefined, k: number) => LossAndGradients<G>;

/** Adds micro-batch k to a sum, which it disposes of. */
function summing<G extends Gradients>(
  accumulator: GradientAccumulator<G>,
  batches: readonly MicroBatch[],
  lossOptions: (k: number) => ObjectiveContext,
): AddBatch<G> {
  const { decoder, objective, fewShapes } = accumulator;
  const itemCount = batches.reduce((sum, batch) => sum + objective.itemCount(batch), 0);
  return (sum, k) =>
    accumulator.add(
      sum,
      objective.inputs(decoder, batches[k] as MicroBatch, { training: true, fewShapes }),
      1 / Math.max(1, itemCount),
      lossOptions(k),
    );
}

function required<G extends Gradients>(sum: LossAndGradients<G> | undefined): LossAndGradients<G> {
  if (sum === undefined) throw new Error('a step needs at least one micro-batch');
  return sum;
}
