import type * as tf from '@tensorflow/tfjs-core';
import {
  crossEntropyThrough,
  rowLogProbabilitiesThrough,
  type HeadFunction,
  type RowLogProbabilities,
  type Targets,
} from '../../../kernels/index.js';
import type { Head } from '../../model/head.js';
import type { ForwardContext } from '../../model/linear.js';

/**
 * An output layer that something trains in: the loss runs through it chunk by chunk, so that logits of all rows never
 * exist at once.
 */
export class AdaptedHead implements Head {
  constructor(
    readonly name: string,
    readonly vocab: number,
    private readonly parameters: readonly tf.Tensor[],
    /** Hidden rows `[n, dim]` to scores `[n, vocab]`. */
    private readonly scores: (hidden: tf.Tensor2D, context: ForwardContext) => tf.Tensor2D,
  ) {}

  logits(hidden: tf.Tensor2D): tf.Tensor2D {
    return this.scores(hidden, {});
  }

  lossSum(hidden: tf.Tensor2D, targets: Targets, training: boolean, context: ForwardContext = {}): tf.Scalar {
    return crossEntropyThrough(this.headFunction(context), hidden, targets, { training });
  }

  rowLogProbabilities(
    hidden: tf.Tensor2D,
    targets: Targets,
    batch: number,
    training: boolean,
    context: ForwardContext = {},
  ): RowLogProbabilities {
    return rowLogProbabilitiesThrough(this.headFunction(context), hidden, targets, batch, { training });
  }

  private headFunction({ dropoutSeed }: ForwardContext): HeadFunction {
    const of = (chunk: number): ForwardContext =>
      dropoutSeed === undefined ? {} : { dropoutSeed: (dropoutSeed ^ Math.imul(chunk + 1, 0x85ebca6b)) >>> 0 };
    return {
      vocab: this.vocab,
      parameters: this.parameters,
      logits: (rows, chunk) => this.scores(rows, of(chunk)),
    };
  }
}
