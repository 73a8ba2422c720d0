import * as tf from '@tensorflow/tfjs-core';
import type { MatmulForm } from './form.js';

/** scale · op(x) · op(w) in stock ops. */
export function matmulReference(x: tf.Tensor2D, w: tf.Tensor2D, form: MatmulForm, scale: number): tf.Tensor2D {
  const y: tf.Tensor2D = tf.matMul(x, w, form === 'tn', form === 'nt');
  return scale === 1 ? y : tf.mul(y, scale);
}
