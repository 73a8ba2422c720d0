import type * as tf from '@tensorflow/tfjs-core';
import { linear } from '../linear/kernel.js';
import { matmul } from '../matmul/kernel.js';
import { quantizedMatmul } from '../nf4-matmul/kernel.js';
import type { FrozenWeight } from '../types.js';

/** x `[n, dim]` · Wᵀ -> `[n, vocab]`, plus a bias `[vocab]`. */
export function logitsOf(x: tf.Tensor2D, weight: FrozenWeight, bias: tf.Tensor1D | undefined): tf.Tensor2D {
  return linear(x, weight, bias === undefined ? {} : { bias });
}

/** dlogits `[n, vocab]` · W -> `[n, dim]`. */
export function hiddenGradient(dlogits: tf.Tensor2D, weight: FrozenWeight): tf.Tensor2D {
  return weight.kind === 'dense' ? matmul(dlogits, weight.values, 'nn') : quantizedMatmul(dlogits, weight, true);
}

/** dlogitsᵀ · x -> `[vocab, dim]`. */
export function weightGradient(dlogits: tf.Tensor2D, x: tf.Tensor2D): tf.Tensor2D {
  return matmul(dlogits, x, 'tn');
}
