import * as tf from '@tensorflow/tfjs-core';
import { embedding, matmul, type LowRank } from '../../../kernels/index.js';
import type { Embedding, FrozenEmbedding } from '../../model/embedding.js';
import { updatedNorms, type Magnitude } from './dora.js';

/**
 * A frozen embedding with a low-rank update of its table W `[vocab, hidden]`: y = W[ids] + s·Aᵀ[ids]·Bᵀ, A `[r,
 * vocab]`, B `[hidden, r]`. With magnitudes m `[hidden]` the columns of the table are scaled to them. There is no
 * dropout, as in PEFT.
 */
export class LoraEmbedding implements Embedding {
  constructor(
    readonly base: FrozenEmbedding,
    readonly a: tf.Variable<tf.Rank.R2>,
    readonly b: tf.Variable<tf.Rank.R2>,
    readonly scale: number,
    readonly magnitude?: Magnitude,
    private readonly fresh = false,
  ) {}

  get name(): string {
    return this.base.name;
  }

  async initialize(): Promise<void> {
    const squares = (): tf.Tensor1D => tf.tidy(() => tf.sum(tf.square(this.base.table), 0) as tf.Tensor1D);
    this.magnitude?.measure(squares(), this.fresh, (measured) => updatedNorms(measured, () => this.awt(), this.low()));
  }

  forward(ids: tf.Tensor1D): tf.Tensor2D {
    return tf.tidy(() => {
      const rows = embedding(tf.transpose(this.a) as tf.Tensor2D, ids);
      const y = tf.add<tf.Tensor2D>(this.base.forward(ids), matmul(rows, this.b as tf.Tensor2D, 'nt', this.scale));
      return this.magnitude === undefined
        ? y
        : tf.mul<tf.Tensor2D>(
            y,
            this.magnitude.factor(() => this.awt(), this.low()),
          );
    });
  }

  dispose(): void {
    this.magnitude?.dispose();
  }

  private awt(): tf.Tensor2D {
    return matmul(this.a as tf.Tensor2D, this.base.table, 'nn');
  }

  private low(): LowRank {
    return { a: this.a as tf.Tensor2D, b: this.b as tf.Tensor2D, scale: this.scale };
  }
}
