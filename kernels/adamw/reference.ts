import * as tf from '@tensorflow/tfjs-core';

/** Positions in the small float32 tensor that carries a step's constants to the device. */
export const HYPER = { decay: 0, oneMinusBeta1: 1, beta2: 2, oneMinusBeta2: 3, rootCorrection2: 4, epsilon: 5, stepSize: 6 } as const;
export const HYPER_SIZE = 8;

/** [p, m, v] after one AdamW step in stock ops, in the order of operations of torch's single-tensor form. */
export function adamwReference(p: tf.Tensor, g: tf.Tensor, m: tf.Tensor, v: tf.Tensor, hyper: tf.Tensor1D, scale: tf.Scalar): tf.Tensor[] {
  const constants = tf.unstack(hyper);
  const at = (k: keyof typeof HYPER): tf.Scalar => constants[HYPER[k]] as tf.Scalar;
  const scaled = tf.mul(g, scale);
  const nextM = tf.add(m, tf.mul(tf.sub(scaled, m), at('oneMinusBeta1')));
  const nextV = tf.add(tf.mul(v, at('beta2')), tf.mul(tf.square(scaled), at('oneMinusBeta2')));
  const denominator = tf.add(tf.div(tf.sqrt(nextV), at('rootCorrection2')), at('epsilon'));
  return [tf.sub(tf.mul(p, at('decay')), tf.mul(tf.div(nextM, denominator), at('stepSize'))), nextM, nextV];
}

/** √(Σ‖t‖²) over all tensors, in stock ops. */
export function globalNormReference(tensors: readonly tf.Tensor[]): tf.Scalar {
  // Not addN: on webgpu it binds all operands at once, and past the device's limit gives a wrong number.
  return tf.sqrt(tf.sum(tf.stack(tensors.map((t) => tf.sum(tf.square(t)))))) as tf.Scalar;
}
