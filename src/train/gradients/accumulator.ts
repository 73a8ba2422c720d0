import * as tf from '@tensorflow/tfjs-core';
import type { Gradients } from '../../../kernels/index.js';
import type { Decoder } from '../../model/decoder.js';
import type { LossInputs, LossOptions } from '../../model/loss.js';

/** Loss (scalar) and one gradient a parameter, the holder's to release. */
export interface LossAndGradients<G extends Gradients = Gradients> {
  readonly loss: tf.Scalar;
  readonly gradients: G;
}

/** Loss and gradients of micro-batches, and their sums. */
export interface GradientAccumulator<G extends Gradients = Gradients> {
  readonly decoder: Decoder;
  /**
   * Adds a micro-batch to a sum, which it takes over.
   * @param scale a factor for the batch's sum of losses
   */
  add(
    sum: LossAndGradients<G> | undefined,
    inputs: LossInputs,
    scale: number,
    options: LossOptions,
  ): LossAndGradients<G>;
  /** Of what `add` returned. */
  release(sum: LossAndGradients<G>): void;
  dispose(): void;
}

/** Takes both over. */
export function addLoss(sum: tf.Scalar, more: tf.Scalar): tf.Scalar {
  const total = tf.add<tf.Scalar>(sum, more);
  tf.dispose([sum, more]);
  return total;
}
