import type * as tf from '@tensorflow/tfjs-core';
import { embedding } from '../../kernels/index.js';
import type { ForwardContext } from './linear.js';

/** The token embedding as the decoder sees it. Adapters wrap one and take its place. */
export interface Embedding {
  /** Module path in the checkpoint. */
  readonly name: string;
  /** ids int32 `[tokens]` to `[tokens, hidden]`. */
  forward(ids: tf.Tensor1D, context: ForwardContext): tf.Tensor2D;
}

/** The base model's own table `[vocab, hidden]`. */
export class FrozenEmbedding implements Embedding {
  constructor(
    readonly name: string,
    readonly table: tf.Tensor2D,
  ) {}

  forward(ids: tf.Tensor1D): tf.Tensor2D {
    return embedding(this.table, ids);
  }
}
