import type * as tf from '@tensorflow/tfjs-core';
import { layerNorm, rmsNorm } from '../../kernels/index.js';

/** Weights of a normalisation, `[dim]` each: LayerNorm where there is a bias, RMSNorm where there is none. */
export interface NormWeights {
  readonly weight: tf.Tensor1D;
  readonly bias: tf.Tensor1D | undefined;
}

/** x `[rows, dim]` normalised over its last axis. */
export function normalise(x: tf.Tensor2D, { weight, bias }: NormWeights, eps: number): tf.Tensor2D {
  return bias === undefined ? rmsNorm(x, weight, eps) : layerNorm(x, weight, bias, eps);
}
