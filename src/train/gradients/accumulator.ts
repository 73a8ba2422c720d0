import * as tf from '@tensorflow/tfjs-core';
import type { Gradients } from '../../../kernels/index.js';
import type { Decoder } from '../../model/decoder.js';
import type { Objective, ObjectiveContext, ObjectiveInputs } from '../objectives/objective.js';

/** Loss (scalar), metrics (`[metrics]`) and one gradient a parameter, the holder's to release. */
export interface LossAndGradients<G extends Gradients = Gradients> {
  readonly loss: tf.Scalar;
  /** Undefined for an objective without metrics. */
  readonly metrics?: tf.Tensor1D | undefined;
  readonly gradients: G;
}

/** Loss and gradients of micro-batches, and their sums. */
export interface GradientAccumulator<G extends Gradients = Gradients> {
  readonly decoder: Decoder;
  readonly objective: Objective;
  /** Whether inputs should be such that batches of one size have few shapes. */
  readonly fewShapes: boolean;
  /**
   * Adds a micro-batch to a sum, which it takes over.
   * @param scale a factor for the batch's sums
   */
  add(
    sum: LossAndGradients<G> | undefined,
    inputs: ObjectiveInputs,
    scale: number,
    context: ObjectiveContext,
  ): LossAndGradients<G>;
  /** Of what `add` returned. */
  release(sum: LossAndGradients<G>): void;
  dispose(): void;
}

/** Loss and metrics of a batch, by themselves: takes over what `objectiveSums` made. */
export function splitSums(sums: tf.Tensor): Pick<LossAndGradients, 'loss' | 'metrics'> {
  if (sums.rank === 0) return { loss: sums as tf.Scalar };
  const split = tf.tidy(() => ({
    loss: tf.reshape(tf.slice1d(sums as tf.Tensor1D, 0, 1), []) as tf.Scalar,
    metrics: tf.slice1d(sums as tf.Tensor1D, 1, sums.size - 1),
  }));
  sums.dispose();
  return split;
}

/** The sums of loss and metrics; takes both over. */
export function addSums(
  sum: Pick<LossAndGradients, 'loss' | 'metrics'>,
  more: Pick<LossAndGradients, 'loss' | 'metrics'>,
): Pick<LossAndGradients, 'loss' | 'metrics'> {
  return {
    loss: added(sum.loss, more.loss),
    ...(sum.metrics === undefined || more.metrics === undefined ? {} : { metrics: added(sum.metrics, more.metrics) }),
  };
}

function added<T extends tf.Tensor>(sum: T, more: T): T {
  const total = tf.add<T>(sum, more);
  tf.dispose([sum, more]);
  return total;
}
