import * as tf from '@tensorflow/tfjs-core';
import { runOp, type Op } from '../runtime/op.js';
import { globalNormReference } from './reference.js';

/**
 * √(Σ‖t‖²) over all tensors: the norm of their concatenation. Stays on the device.
 *
 * @param tensors any shapes, float32; none gives 0
 */
export function globalNorm(tensors: readonly tf.Tensor[]): tf.Scalar {
  if (tensors.length === 0) return tf.scalar(0);
  return runOp(globalNormOp, Object.fromEntries(tensors.map((t, i) => [`t${i}`, t]))) as tf.Scalar;
}

/** min(1, maxNorm / (norm + 1e-6)): the factor with which torch's clip_grad_norm_ multiplies gradients. Stays on the device. */
export function clipScale(norm: tf.Scalar, maxNorm: number): tf.Scalar {
  return tf.tidy(() => tf.minimum(1, tf.div(maxNorm, tf.add(norm, 1e-6))));
}

export const globalNormOp: Op = {
  name: 'LowrankGlobalNorm',
  reference: (inputs) => globalNormReference(Object.values(inputs)),
  gradient: null,
};
