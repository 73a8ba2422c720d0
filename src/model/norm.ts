import * as tf from '@tensorflow/tfjs-core';
import { addRmsNorm, layerNorm, rmsNorm } from '../../kernels/index.js';

/** Weights of a normalisation, `[dim]` each: LayerNorm where there is a bias, RMSNorm where there is none. */
export interface NormWeights {
  readonly weight: tf.Tensor1D;
  readonly bias: tf.Tensor1D | undefined;
}

/** x `[rows, dim]` normalised over its last axis. */
export function normalise(x: tf.Tensor2D, { weight, bias }: NormWeights, eps: number): tf.Tensor2D {
  return bias === undefined ? rmsNorm(x, weight, eps) : layerNorm(x, weight, bias, eps);
}

/** [x + added, that normalised]: a residual connection and the norm behind it. */
export function addNormalised(
  x: tf.Tensor2D,
  added: tf.Tensor2D,
  weights: NormWeights,
  eps: number,
): [sum: tf.Tensor2D, y: tf.Tensor2D] {
  if (weights.bias === undefined) return addRmsNorm(x, added, weights.weight, eps);
  const sum = tf.add<tf.Tensor2D>(x, added);
  return [sum, normalise(sum, weights, eps)];
}
