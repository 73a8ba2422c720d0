import * as tf from '@tensorflow/tfjs-core';
import { embedding, linear, matmul } from '../../../kernels/index.js';
import type { Embedding } from '../../model/embedding.js';
import type { FrozenHead } from '../../model/head.js';
import type { ForwardContext } from '../../model/linear.js';

/**
 * Trained rows of a table whose other rows are frozen. Row j of the values stands for row `indices[j]` of the table;
 * rows from the table's size on are new.
 */
export class TrainedTokens {
  /** `[rows, hidden]` */
  readonly values: tf.Variable<tf.Rank.R2>;
  private readonly old: readonly number[];
  private readonly beyond: readonly number[];
  private readonly constants: tf.Tensor[] = [];

  constructor(
    values: tf.Variable<tf.Rank.R2>,
    readonly indices: readonly number[],
    readonly vocab: number,
  ) {
    this.values = values;
    const slots = indices.map((_, slot) => slot);
    this.old = slots.filter((slot) => (indices[slot] as number) < vocab);
    this.beyond = slots
      .filter((slot) => (indices[slot] as number) >= vocab)
      .sort((a, b) => (indices[a] as number) - (indices[b] as number));
  }

  /** Rows of the table together with the new ones. */
  get size(): number {
    return this.vocab + this.beyond.length;
  }

  /**
   * The rows as they are in a table of the base; new ones start as the mean of all (as transformers grows a table, but
   * for its noise).
   */
  fromBase(table: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => {
      const rows = embedding(
        table,
        tf.tensor1d(
          this.indices.map((index) => (index < this.vocab ? index : -1)),
          'int32',
        ),
      );
      const fresh = tf.tensor2d(
        this.indices.map((index) => (index < this.vocab ? 0 : 1)),
        [this.indices.length, 1],
      );
      return tf.add(rows, tf.mul(fresh, tf.mean(table, 0, true)));
    });
  }

  /** An embedding that takes the trained rows from here and the others from `base`. */
  embed(base: Embedding): Embedding {
    const slot = new Int32Array(this.size).fill(-1);
    this.indices.forEach((index, i) => (slot[index] = i));
    const slots = this.constant(tf.tensor1d(slot, 'int32'));
    const kept = this.constant(
      tf.tensor1d(
        slot.map((trained, id) => (trained < 0 ? id : -1)),
        'int32',
      ),
    );
    // An id of −1 gives zeros.
    const forward = (ids: tf.Tensor1D, context: ForwardContext): tf.Tensor2D =>
      tf.tidy(() =>
        tf.add(
          base.forward(tf.gather(kept, ids), context),
          embedding(this.values as tf.Tensor2D, tf.gather(slots, ids)),
        ),
      );
    return { name: base.name, forward };
  }

  /**
   * Scores with the trained rows: those of the base, corrected by a low-rank update h·(trained − frozen)ᵀ in their
   * columns, and those of the new rows behind them.
   */
  scores(base: FrozenHead): (hidden: tf.Tensor2D) => tf.Tensor2D {
    const { weight, bias } = base;
    if (weight.kind !== 'dense') throw new Error('the output layer is always dense');
    const oldSlots = this.constant(tf.tensor1d([...this.old], 'int32'));
    const newSlots = this.constant(tf.tensor1d([...this.beyond], 'int32'));
    const columns = this.old.map((slot) => this.indices[slot] as number);
    const frozen =
      this.old.length === 0
        ? undefined
        : this.constant(embedding(weight.values, this.constant(tf.tensor1d(columns, 'int32'))));
    const selection = new Float32Array(this.vocab * this.old.length);
    columns.forEach((column, i) => (selection[column * columns.length + i] = 1));
    const b = this.old.length === 0 ? undefined : this.constant(tf.tensor2d(selection, [this.vocab, this.old.length]));
    return (hidden) =>
      tf.tidy(() => {
        const values = this.values as tf.Tensor2D;
        const low =
          frozen === undefined || b === undefined
            ? {}
            : { lora: { a: tf.sub<tf.Tensor2D>(embedding(values, oldSlots), frozen), b, scale: 1 } };
        const ofVocabulary = linear(hidden, weight, { bias, ...low });
        if (this.beyond.length === 0) return ofVocabulary;
        return tf.concat([ofVocabulary, matmul(hidden, embedding(values, newSlots), 'nt')], 1);
      });
  }

  dispose(): void {
    tf.dispose(this.constants);
    this.constants.length = 0;
  }

  private constant<T extends tf.Tensor>(tensor: T): T {
    this.constants.push(tf.keep(tensor));
    return tensor;
  }
}
