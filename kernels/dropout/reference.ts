import * as tf from '@tensorflow/tfjs-core';
import { dropoutMask } from './hash.js';

/** x times a mask that is built on the host. */
export function dropoutReference(x: tf.Tensor, rate: number, seed: number, offset: number): tf.Tensor {
  return tf.mul(x, tf.tensor(dropoutMask(x.size, rate, seed, offset), x.shape));
}
