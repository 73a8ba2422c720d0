import * as tf from '@tensorflow/tfjs-core';
import { clipScale, globalNorm, type Gradients } from '../../kernels/index.js';
import type { Decoder } from '../model/decoder.js';
import { lossInputs, type LabelledBatch, type LossOptions } from '../model/loss.js';
import type { Optimizer } from './optimizers/optimizer.js';
import type { GradientAccumulator, LossAndGradients } from './gradients/accumulator.js';
import { EagerAccumulator } from './gradients/eager.js';

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
 * Loss and gradients of one optimiser step over its micro-batches: L = Σ token losses of all / N, N the number of
 * supervised tokens in all of them together, so that how rows are spread over micro-batches does not matter.
 */
export function lossAndGradients(
  decoder: Decoder,
  parameters: readonly tf.Tensor[],
  batches: readonly MicroBatch[],
  lossOptions: (k: number) => LossOptions = () => ({}),
): { loss: tf.Scalar; gradients: tf.Tensor[] } {
  const add = summing(new EagerAccumulator(decoder, parameters), batches, lossOptions);
  let sum: LossAndGradients<readonly tf.Tensor[]> | undefined;
  batches.forEach((_, k) => (sum = add(sum, k)));
  const { loss, gradients } = required(sum);
  return { loss, gradients: [...gradients] };
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
  lossOptions: (k: number) => LossOptions = () => ({}),
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
 * One optimiser step. @returns `[2]`: the loss, and the global norm of the gradients before clipping; not read back
 * here.
 */
export async function trainStep(
  decoder: Decoder,
  optimizer: Optimizer,
  parameters: readonly tf.Variable[],
  batches: readonly MicroBatch[],
  options: StepOptions,
): Promise<tf.Tensor1D> {
  return applyGradients(
    optimizer,
    new EagerAccumulator(decoder, parameters),
    lossAndGradients(decoder, parameters, batches, options.lossOptions),
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
  const { loss, gradients } = sum;
  const norm = globalNorm(gradients);
  const scale = options.maxGradNorm > 0 ? clipScale(norm, options.maxGradNorm) : 1;
  const paging = optimizer.step(gradients, options.learningRate, scale);
  // Nothing is waited for unless it has to be: the step is then done when this call returns.
  if (paging !== undefined) await paging;
  const report = tf.stack([loss, norm]) as tf.Tensor1D;
  accumulator.release(sum);
  norm.dispose();
  if (typeof scale !== 'number') scale.dispose();
  return report;
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
  lossOptions: (k: number) => LossOptions,
): AddBatch<G> {
  const itemCount = batches.reduce((sum, b) => sum + b.supervisedCount, 0);
  return (sum, k) =>
    accumulator.add(
      sum,
      lossInputs(accumulator.decoder, batches[k] as MicroBatch, true),
      1 / Math.max(1, itemCount),
      lossOptions(k),
    );
}

function required<G extends Gradients>(sum: LossAndGradients<G> | undefined): LossAndGradients<G> {
  if (sum === undefined) throw new Error('a step needs at least one micro-batch');
  return sum;
}
