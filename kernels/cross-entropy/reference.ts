import * as tf from '@tensorflow/tfjs-core';

/**
 * [losses, dlogits] of softmax cross-entropy in stock ops, or [losses] alone. A label outside [0, vocab) gives 0 and a
 * row of zeros. logits `[rows, vocab]`, labels `[rows]` int32.
 */
export function softmaxLossReference(logits: tf.Tensor2D, labels: tf.Tensor1D, withGradient: boolean): tf.Tensor[] {
  const vocab = logits.shape[1];
  const clamped = tf.minimum(tf.maximum(labels, tf.scalar(0, 'int32')), tf.scalar(vocab - 1, 'int32'));
  const counted = tf.cast(tf.equal(clamped, labels), 'float32');
  const expected = tf.equal(tf.range(0, vocab, 1, 'int32'), tf.expandDims(clamped, 1));
  const shifted = tf.sub(logits, tf.max(logits, 1, true));
  const logSoftmax = tf.sub(shifted, tf.log(tf.sum(tf.exp(shifted), 1, true)));
  // Picked, not multiplied by 0 and 1: another token's logit may be −∞.
  const losses = tf.mul(tf.neg(tf.sum(tf.where(expected, logSoftmax, 0), 1)), counted);
  if (!withGradient) return [losses];
  return [losses, tf.mul(tf.sub(tf.exp(logSoftmax), tf.cast(expected, 'float32')), tf.expandDims(counted, 1))];
}
