import * as tf from '@tensorflow/tfjs-core';

/** x·wᵀ, or x·w with `transposed`, in stock ops; w `[out, in]` is the decoded weight. */
export function quantizedMatmulReference(x: tf.Tensor2D, w: tf.Tensor2D, transposed: boolean): tf.Tensor2D {
  return tf.matMul(x, w, false, !transposed);
}
