import * as tf from '@tensorflow/tfjs-core';

/** A variable that takes over a tensor: what is trained, or kept from step to step. */
export function variableFrom<R extends tf.Rank>(tensor: tf.Tensor<R>): tf.Variable<R> {
  const variable = tf.variable(tensor);
  tensor.dispose();
  return variable;
}

/** The values of a variable, in memory of their own. */
export async function valuesOf(variable: tf.Variable): Promise<Float32Array> {
  // What a backend hands out may be a view of its memory.
  return (await variable.data<'float32'>()).slice();
}

/** Puts values in the place of a variable's, which keeps its shape. */
export function assignValues(variable: tf.Variable, values: Float32Array): void {
  const tensor = tf.tensor(values, variable.shape, 'float32');
  variable.assign(tensor);
  tensor.dispose();
}
