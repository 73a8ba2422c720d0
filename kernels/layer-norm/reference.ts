import * as tf from '@tensorflow/tfjs-core';

/** [y, stats] of layer normalisation in stock ops; stats `[rows, 2]` holds (mean, 1 / √(variance + eps)) a row. */
export function layerNormReference(
  x: tf.Tensor2D,
  w: tf.Tensor1D,
  b: tf.Tensor1D,
  eps: number,
): [tf.Tensor2D, tf.Tensor2D] {
  const mean = tf.mean(x, 1, true);
  const centred = tf.sub(x, mean);
  const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(centred), 1, true), eps));
  return [tf.add(tf.mul(tf.mul(centred, rstd), w), b), tf.concat([mean, rstd], 1) as tf.Tensor2D];
}

/** dx of layer normalisation in stock ops. */
export function layerNormGradReference(
  dy: tf.Tensor2D,
  x: tf.Tensor2D,
  w: tf.Tensor1D,
  stats: tf.Tensor2D,
): tf.Tensor2D {
  const g = tf.mul(dy, w);
  const normal = normalised(x, stats);
  const rstd = tf.slice(stats, [0, 1], [-1, 1]);
  return tf.mul(rstd, tf.sub(tf.sub(g, tf.mean(g, 1, true)), tf.mul(normal, tf.mean(tf.mul(g, normal), 1, true))));
}

/** [dw, db] of layer normalisation in stock ops. */
export function layerNormWeightsGradReference(
  dy: tf.Tensor2D,
  x: tf.Tensor2D,
  stats: tf.Tensor2D,
): [tf.Tensor1D, tf.Tensor1D] {
  return [tf.sum(tf.mul(dy, normalised(x, stats)), 0), tf.sum(dy, 0)];
}

function normalised(x: tf.Tensor2D, stats: tf.Tensor2D): tf.Tensor2D {
  return tf.mul(tf.sub(x, tf.slice(stats, [0, 0], [-1, 1])), tf.slice(stats, [0, 1], [-1, 1]));
}
