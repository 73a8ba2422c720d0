import * as tf from '@tensorflow/tfjs-core';
import type { FrozenWeight } from '../types.js';

/** x `[n, dim]` · Wᵀ -> `[n, vocab]`, plus a bias `[vocab]`. */
export function logitsOf(x: tf.Tensor2D, weight: FrozenWeight, bias: tf.Tensor1D | undefined): tf.Tensor2D {
  const product: tf.Tensor2D = tf.matMul(x, denseValues(weight), false, true);
  if (bias === undefined) return product;
  const logits: tf.Tensor2D = tf.add(product, bias);
  product.dispose();
  return logits;
}

/** dlogits `[n, vocab]` · W -> `[n, dim]`. */
export function hiddenGradient(dlogits: tf.Tensor2D, weight: FrozenWeight): tf.Tensor2D {
  return tf.matMul(dlogits, denseValues(weight));
}

/** dlogitsᵀ · x -> `[vocab, dim]`. */
export function weightGradient(dlogits: tf.Tensor2D, x: tf.Tensor2D): tf.Tensor2D {
  return tf.matMul(dlogits, x, true, false);
}

function denseValues(weight: FrozenWeight): tf.Tensor2D {
  if (weight.kind !== 'dense') throw new Error('the output layer must be a float weight');
  return weight.values;
}
