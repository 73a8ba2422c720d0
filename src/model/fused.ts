import * as tf from '@tensorflow/tfjs-core';
import type { ModelConfig } from './config.js';

/** q `[tokens, heads · headDim]`; k and v `[tokens, kvHeads · headDim]`. */
export type Projections = readonly [q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D];

/**
 * Takes the output of a fused layer apart: y `[tokens, q + k + v]`, either one after the other or head by head (q, k
 * and v of the first head, then of the next). It is the output that is sorted and not the weight, so an adapter on the
 * layer keeps its file's order.
 */
export function splitQkv(y: tf.Tensor2D, { family, numHeads, numKvHeads, headDim }: ModelConfig): Projections {
  const [q, kv] = [numHeads * headDim, numKvHeads * headDim];
  if (family.qkvOrder === 'blocks') return tf.split(y, [q, kv, kv], 1) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
  return tf.tidy(() => {
    const heads = tf.reshape(y, [y.shape[0], numHeads, 3 * headDim]);
    return tf.split(heads, 3, 2).map((part) => tf.reshape(part, [y.shape[0], q])) as [
      tf.Tensor2D,
      tf.Tensor2D,
      tf.Tensor2D,
    ];
  });
}

/** y `[tokens, 2 · dim]` into gate and up, `[tokens, dim]` each: the gate comes first. */
export function splitGateUp(y: tf.Tensor2D): [gate: tf.Tensor2D, up: tf.Tensor2D] {
  return tf.split(y, 2, 1) as [tf.Tensor2D, tf.Tensor2D];
}
