import * as tf from '@tensorflow/tfjs-core';
import { embedding } from '../../kernels/index.js';
import { DataError } from '../errors.js';

/** Which tokens of which rows a pass is about. */
export interface TokenSpan {
  readonly batch: number;
  /** Tokens of each row in this pass. */
  readonly length: number;
  /** Tokens of each row before this pass. */
  readonly past: number;
  /** int32 `[batch · (past + length)]`: where the segment of each token begins in its row; 0 unless given. */
  readonly starts?: tf.Tensor1D | undefined;
}

/**
 * Vectors of learned positions, `[batch · length, hidden]`: row `index in the row − start of the segment` of the table.
 * @param table `[positions, hidden]`
 * @throws DataError when a row without segments is longer than the table.
 */
export function learnedPositions(table: tf.Tensor2D, { batch, length, past, starts }: TokenSpan): tf.Tensor2D {
  if (starts === undefined && past + length > table.shape[0])
    throw new DataError(`${past + length} tokens, and the model knows ${table.shape[0]} positions`);
  return tf.tidy(() => {
    const indices = tf.tensor2d(
      Int32Array.from({ length: batch * length }, (_, i) => past + (i % length)),
      [batch, length],
      'int32',
    );
    const relative =
      starts === undefined
        ? indices
        : tf.sub(indices, tf.slice(tf.reshape(starts, [batch, past + length]), [0, past], [batch, length]));
    return embedding(table, tf.reshape(relative, [batch * length]));
  });
}
