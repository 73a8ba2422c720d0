import * as tf from '@tensorflow/tfjs-core';

/** A variable that takes over a tensor: what is trained, or kept from step to step. */
export function variableFrom<R extends tf.Rank>(tensor: tf.Tensor<R>): tf.Variable<R> {
  const variable = tf.variable(tensor);
  tensor.dispose();
  return variable;
}
