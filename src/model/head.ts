import * as tf from '@tensorflow/tfjs-core';
import { crossEntropySum, linear, type FrozenWeight, type Targets } from '../../kernels/index.js';
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
    // A weight is a variable only where all weights are trained.
    const weightGradient = this.weight.kind === 'dense' && this.weight.values instanceof tf.Variable;
    return crossEntropySum(hidden, this.weight, targets, { ...this.options(), training, weightGradient });
  }

  private options(): { bias?: tf.Tensor1D } {
    return this.bias === undefined ? {} : { bias: this.bias };
  }
}
