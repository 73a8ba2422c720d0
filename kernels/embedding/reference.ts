import * as tf from '@tensorflow/tfjs-core';

/** Ids clamped into [0, vocab), and a column that is 1 where an id was in range and 0 elsewhere. */
function inRange(ids: tf.Tensor1D, vocab: number): [ids: tf.Tensor1D, kept: tf.Tensor2D] {
  const clamped = tf.minimum(tf.maximum(ids, tf.scalar(0, 'int32')), tf.scalar(vocab - 1, 'int32')) as tf.Tensor1D;
  return [clamped, tf.expandDims(tf.cast(tf.equal(clamped, ids), 'float32'), 1)];
}

/** Rows of a table in stock ops; an id outside the table gives a row of zeros. */
export function embeddingReference(table: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor2D {
  const [clamped, kept] = inRange(ids, table.shape[0]);
  return tf.mul(tf.gather(table, clamped), kept);
}

/** The table's gradient in stock ops: row v is the sum of the rows of dy whose id is v. */
export function embeddingGradReference(dy: tf.Tensor2D, ids: tf.Tensor1D, vocab: number): tf.Tensor2D {
  const [clamped, kept] = inRange(ids, vocab);
  return tf.scatterND(tf.expandDims(clamped, 1), tf.mul(dy, kept), [vocab, dy.shape[1]]);
}
