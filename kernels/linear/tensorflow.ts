import * as tf from '@tensorflow/tfjs-core';
import { withDecodedWeight } from '../nf4-dequantize/tensorflow.js';
import type { QuantizedAttrs } from '../nf4-dequantize/weight.js';
import type { KernelFunction } from '../runtime/op.js';
import { linearGradReference, linearReference } from './reference.js';

/** The stock ops on a 4-bit weight that is decoded for them alone; a float weight is there already. */
function decoded(reference: (inputs: Record<string, tf.Tensor>, attrs: tf.NamedAttrMap) => tf.Tensor | tf.Tensor[]): KernelFunction<unknown> {
  return ({ inputs, attrs, backend }) => {
    const tensors = inputs as Record<string, tf.Tensor>;
    if (tensors['w'] !== undefined) return tf.tidy(() => reference(tensors, attrs));
    return withDecodedWeight(backend, inputs as Record<string, tf.TensorInfo>, attrs as unknown as QuantizedAttrs, (w) => reference({ ...tensors, w }, attrs));
  };
}

/** LowrankLinear on TensorFlow. */
export const linearTensorflow = decoded(linearReference);

/** LowrankLinearGrad on TensorFlow. */
export const linearGradTensorflow = decoded(linearGradReference);
