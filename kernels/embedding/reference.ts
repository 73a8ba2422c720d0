import * as tf from '@tensorflow/tfjs-core';

/** Ids clamped into [0, vocab), and a column of whether an id was in range. */
function inRange(ids: tf.Tensor1D, vocab: number): [ids: tf.Tensor1D, kept: tf.Tensor2D] {
  const clamped = tf.minimum(tf.maximum(ids, tf.scalar(0, 'int32')), tf.scalar(vocab - 1, 'int32')) as tf.Tensor1D;
  return [clamped, tf.expandDims(tf.equal(clamped, ids), 1)];
}

/** Rows of a table in stock ops; an id outside the table gives a row of zeros. */
export function embeddingReference(table: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor2D {
  const [clamped, kept] = inRange(ids, table.shape[0]);
  // Picked, not multiplied by 0 and 1: the row that an id is clamped to may not be finite.
  return tf.where(kept, tf.gather(table, clamped), 0);
}

/** The table's gradient in stock ops: row v is the sum of the rows of dy whose id is v. */
export function embeddingGradReference(dy: tf.Tensor2D, ids: tf.Tensor1D, vocab: number): tf.Tensor2D {
  const [clamped, kept] = inRange(ids, vocab);
  return tf.scatterND(tf.expandDims(clamped, 1), tf.where(kept, dy, 0), [vocab, dy.shape[1]]);
}
