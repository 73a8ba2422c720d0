import * as tf from '@tensorflow/tfjs-core';
import { withDecodedWeight } from '../nf4-dequantize/tensorflow.js';
import type { QuantizedAttrs } from '../nf4-dequantize/weight.js';
import type { KernelFunction, Op } from '../runtime/op.js';
import { linearGradWith, linearWith, type WithWeight } from './reference.js';

/** The stock ops on 4-bit weights of which each is decoded for them alone; a float weight is there already. */
function decoded(make: (withWeight: WithWeight) => Op['reference']): KernelFunction<unknown> {
  return ({ inputs, attrs, backend }) => {
    const withWeight: WithWeight = (tensors, { quantized }, body) => {
      if (tensors['w'] !== undefined) return body(tensors['w'] as tf.Tensor2D);
      return withDecodedWeight(backend, tensors as Record<string, tf.TensorInfo>, quantized as QuantizedAttrs, body);
    };
    return tf.tidy(() => make(withWeight)(inputs as Record<string, tf.Tensor>, attrs));
  };
}

/** LowrankLinear on TensorFlow. */
export const linearTensorflow = decoded(linearWith);

/** LowrankLinearGrad on TensorFlow. */
export const linearGradTensorflow = decoded(linearGradWith);
