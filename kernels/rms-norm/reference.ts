import * as tf from '@tensorflow/tfjs-core';

/** [y, rstd] of RMSNorm in stock ops. x `[rows, dim]`, w `[dim]`. */
export function rmsNormReference(x: tf.Tensor2D, w: tf.Tensor1D, eps: number): [tf.Tensor2D, tf.Tensor1D] {
  const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(x), 1), eps)) as tf.Tensor1D;
  return [tf.mul(tf.mul(x, tf.expandDims(rstd, 1)), w), rstd];
}

/** dx of RMSNorm in stock ops. */
export function rmsNormGradReference(dy: tf.Tensor2D, x: tf.Tensor2D, w: tf.Tensor1D, rstd: tf.Tensor1D): tf.Tensor2D {
  const r = tf.expandDims(rstd, 1);
  const g = tf.mul(dy, w);
  const dot = tf.mean(tf.mul(g, x), 1, true);
  return tf.mul(r, tf.sub(g, tf.mul(x, tf.mul(dot, tf.square(r)))));
}

/** dw of RMSNorm in stock ops. */
export function rmsNormWeightGradReference(dy: tf.Tensor2D, x: tf.Tensor2D, rstd: tf.Tensor1D): tf.Tensor1D {
  return tf.sum(tf.mul(tf.mul(dy, x), tf.expandDims(rstd, 1)), 0);
}
