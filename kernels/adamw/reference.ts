import * as tf from '@tensorflow/tfjs-core';

/** What a step's number and options make of the constants; float64, rounded once to float32. */
export interface Hyper {
  readonly oneMinusBeta1: number;
  readonly beta2: number;
  readonly oneMinusBeta2: number;
  /** √(1 − β₂ᵗ). */
  readonly rootCorrection2: number;
  readonly epsilon: number;
}

/** Constants of one parameter. */
export interface ItemHyper {
  /** 1 − lr·wd. */
  readonly decay: number;
  /** lr / (1 − β₁ᵗ). */
  readonly stepSize: number;
}

/** [p, m, v] after one AdamW step in stock ops, in the order of operations of torch's single-tensor form. */
export function adamwReference(
  p: tf.Tensor,
  g: tf.Tensor,
  m: tf.Tensor,
  v: tf.Tensor,
  scale: tf.Scalar,
  hyper: Hyper,
  item: ItemHyper,
): tf.Tensor[] {
  const scaled = tf.mul(g, scale);
  const nextM = tf.add(m, tf.mul(tf.sub(scaled, m), hyper.oneMinusBeta1));
  const nextV = tf.add(tf.mul(v, hyper.beta2), tf.mul(tf.square(scaled), hyper.oneMinusBeta2));
  const denominator = tf.add(tf.div(tf.sqrt(nextV), hyper.rootCorrection2), hyper.epsilon);
  return [tf.sub(tf.mul(p, item.decay), tf.mul(tf.div(nextM, denominator), item.stepSize)), nextM, nextV];
}

/** √(Σ‖t‖²) over all tensors, in stock ops. */
export function globalNormReference(tensors: readonly tf.Tensor[]): tf.Scalar {
  // Not addN: on webgpu it binds all operands at once, and past the device's limit gives a wrong number.
  return tf.sqrt(tf.sum(tf.stack(tensors.map((t) => tf.sum(tf.square(t)))))) as tf.Scalar;
}
