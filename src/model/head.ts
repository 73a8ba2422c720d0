import * as tf from '@tensorflow/tfjs-core';
import {
  crossEntropySum,
  linear,
  rowLogProbabilities,
  type CrossEntropyOptions,
  type FrozenWeight,
  type RowLogProbabilities,
  type Targets,
} from '../../kernels/index.js';
import type { ForwardContext } from './linear.js';

/** The output projection as the decoder sees it. Adapters wrap one and take its place. */
export interface Head {
  /** Module path in the checkpoint. */
  readonly name: string;
  /** Tokens that it tells apart. */
  readonly vocab: number;
  /** Scores of the next token, `[rows, vocab]`, for hidden states `[rows, hidden]`. */
  logits(hidden: tf.Tensor2D): tf.Tensor2D;
  /**
   * Sum of token losses in nats, a scalar; logits of all rows never exist at once.
   * @param training false: no gradient will be asked for
   * @param context for an adapter's dropout
   */
  lossSum(hidden: tf.Tensor2D, targets: Targets, training: boolean, context?: ForwardContext): tf.Scalar;
  /**
   * Log-probability of the supervised tokens of each of `batch` rows of equal length, with their numbers; logits of all
   * tokens never exist at once.
   * @param training as in `lossSum`
   */
  rowLogProbabilities(
    hidden: tf.Tensor2D,
    targets: Targets,
    batch: number,
    training: boolean,
    context?: ForwardContext,
  ): RowLogProbabilities;
}

/** The base model's own projection `[vocab, hidden]`; the embedding itself where the two are tied. */
export class FrozenHead implements Head {
  constructor(
    readonly name: string,
    readonly weight: FrozenWeight,
    readonly bias?: tf.Tensor1D,
  ) {}

  get vocab(): number {
    return this.weight.shape[0];
  }

  logits(hidden: tf.Tensor2D): tf.Tensor2D {
    return linear(hidden, this.weight, this.options());
  }

  lossSum(hidden: tf.Tensor2D, targets: Targets, training: boolean): tf.Scalar {
    return crossEntropySum(hidden, this.weight, targets, this.lossOptions(training));
  }

  rowLogProbabilities(hidden: tf.Tensor2D, targets: Targets, batch: number, training: boolean): RowLogProbabilities {
    return rowLogProbabilities(hidden, this.weight, targets, batch, this.lossOptions(training));
  }

  private lossOptions(training: boolean): CrossEntropyOptions {
    // A weight is a variable only where all weights are trained.
    const weightGradient = this.weight.kind === 'dense' && this.weight.values instanceof tf.Variable;
    return { ...this.options(), training, weightGradient };
  }

  private options(): { bias?: tf.Tensor1D } {
    return this.bias === undefined ? {} : { bias: this.bias };
  }
}
