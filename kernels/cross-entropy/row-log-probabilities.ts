import * as tf from '@tensorflow/tfjs-core';
import { embedding } from '../embedding/kernel.js';
import type { FrozenWeight } from '../types.js';
import { concatRows, overChunks, placesOf, spread, type ChunkFunction, type Targets } from './chunks.js';
import {
  checkInputs,
  headChunkRows,
  headChunks,
  weightChunks,
  type CrossEntropyOptions,
  type HeadFunction,
} from './kernel.js';

/** Log-probabilities of the rows of a batch; a row without supervised tokens has 0 and 0. */
export interface RowLogProbabilities {
  /** `[batch]`, in nats: Σ log p over the supervised tokens of each row. Differentiable. */
  readonly sums: tf.Tensor1D;
  /** `[batch]` float32: supervised tokens of each row. */
  readonly counts: tf.Tensor1D;
}

/**
 * Σ log softmax(hidden[rows[i]]·Wᵀ + bias)[labels[i]] over the targets of each row of a batch, with d/dlogits = g_row ·
 * (onehot(label) − softmax). In chunks, as crossEntropySum: logits of all tokens never exist at once. For a frozen
 * output layer gradients are made on the way, and only their rows are scaled in the backward pass, so that it costs what
 * the loss costs; for one that is trained the backward pass makes the logits once more.
 *
 * @param hidden `[batch · length, dim]` float32
 * @param weight `[vocab, dim]`
 * @param batch rows of equal length that the hidden states belong to, one after another
 * @throws Error when shapes do not fit, or weightGradient is asked of a 4-bit weight
 */
export function rowLogProbabilities(
  hidden: tf.Tensor2D,
  weight: FrozenWeight,
  targets: Targets,
  batch: number,
  options: CrossEntropyOptions = {},
): RowLogProbabilities {
  const { training = true, weightGradient = false, bias, chunkBytes } = options;
  checkInputs(hidden, weight.shape, targets);
  const { parameters, chunk } = weightChunks(weight, bias, weightGradient);
  const size = headChunkRows(weight.shape[0], chunkBytes);
  return rowsOverChunks(hidden, parameters, targets, batch, () => chunk, size, training);
}

/** As {@link rowLogProbabilities}, for an output layer that carries an adapter: see crossEntropyThrough. */
export function rowLogProbabilitiesThrough(
  head: HeadFunction,
  hidden: tf.Tensor2D,
  targets: Targets,
  batch: number,
  { training = true, chunkBytes }: { training?: boolean; chunkBytes?: number } = {},
): RowLogProbabilities {
  checkInputs(hidden, [head.vocab, hidden.shape[1]], targets);
  const size = headChunkRows(head.vocab, chunkBytes);
  return rowsOverChunks(
    hidden,
    head.parameters,
    targets,
    batch,
    (recorded) => headChunks(head, recorded),
    size,
    training,
  );
}

function rowsOverChunks(
  hidden: tf.Tensor2D,
  parameters: readonly tf.Tensor[],
  targets: Targets,
  batch: number,
  /** @param recorded false: no gradient is asked for */
  chunks: (recorded: boolean) => ChunkFunction,
  size: number,
  training: boolean,
): RowLogProbabilities {
  const tokens = hidden.shape[0];
  tf.util.assert(
    batch > 0 && tokens % batch === 0,
    () => `row log-probabilities: ${tokens} hidden states are not ${batch} rows of equal length`,
  );
  if (targets.rows.length === 0) return { sums: tf.zeros([batch]), counts: tf.zeros([batch]) };
  const places = targets.places ?? placesOf(targets.rows, tokens);
  const counts = tf.tidy(() => {
    const supervised = tf.cast(tf.greaterEqual(tf.tensor1d(places, 'int32'), tf.scalar(0, 'int32')), 'float32');
    return tf.sum<tf.Tensor1D>(tf.reshape(supervised, [batch, tokens / batch]), 1);
  });
  /** Σ over the tokens of each row, `[batch]`. */
  const sumsOf = (losses: readonly tf.Tensor1D[]): tf.Tensor1D => {
    const column = tf.reshape(concatRows(losses), [-1, 1]) as tf.Tensor2D;
    return tf.neg(tf.sum<tf.Tensor1D>(tf.reshape(spread(column, places), [batch, tokens / batch]), 1));
  };
  if (!training) {
    const sums = tf.tidy(() => sumsOf(overChunks(hidden, targets, chunks(false), size, false).losses));
    return { sums, counts };
  }
  /** Of `[batch]` the value of each target's row as a factor of its loss, `[rows.length, 1]`. */
  const weightsOf = (dy: tf.Tensor): tf.Tensor2D => {
    const ofTokens = tf.reshape(tf.tile(tf.reshape(tf.neg(dy), [batch, 1]), [1, tokens / batch]), [tokens, 1]);
    return embedding(ofTokens as tf.Tensor2D, tf.tensor1d(targets.rows, 'int32'));
  };
  const again = parameters.length > 0;
  const run = tf.customGrad((...args: (tf.Tensor | tf.GradSaveFunc)[]) => {
    const save = args[args.length - 1] as tf.GradSaveFunc;
    const made = overChunks(hidden, targets, chunks(!again), size, !again);
    save([again ? hidden : (made.rowGradients as tf.Tensor2D)]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => {
      const [kept] = saved as [tf.Tensor2D];
      const weights = weightsOf(dy);
      if (!again) return [spread(tf.mul(kept, weights), places)];
      const { rowGradients, parameterGradients } = overChunks(kept, targets, chunks(true), size, true, weights);
      return [spread(rowGradients as tf.Tensor2D, places), ...parameterGradients];
    };
    return { value: sumsOf(made.losses), gradFunc };
  });
  return { sums: run(hidden, ...parameters) as tf.Tensor1D, counts };
}
