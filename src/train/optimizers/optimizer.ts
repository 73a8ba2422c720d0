import type * as tf from '@tensorflow/tfjs-core';
import { FlatTensors, type Gradients } from '../../../kernels/index.js';

/** Settings that stay the same over a run. Names as in the configuration. */
export interface AdamWOptions {
  readonly adam_beta1: number;
  readonly adam_beta2: number;
  readonly adam_epsilon: number;
  readonly weight_decay: number;
}

/** What changes the parameters of a run, in place. */
export interface Optimizer {
  /**
   * One update; `gradients` in the order of the parameters, scaled by `gradientScale` (a scalar tensor is not read
   * back). A promise is returned only where values have to come back from the device first.
   */
  step(gradients: Gradients, learningRate: number, gradientScale: number | tf.Scalar): void | Promise<void>;
  /** What it has gathered so far, on the host. */
  state(): Promise<OptimizerState>;
  /** Goes on from a state; sizes are those of the parameters. */
  restore(state: OptimizerState): void;
  dispose(): void;
}

/** First and second moment of one parameter, in its order of values. */
export interface Moments {
  readonly m: Float32Array;
  readonly v: Float32Array;
}

/** The same for all optimisers here, so that a run may go on with its moments elsewhere. */
export interface OptimizerState {
  /** Updates made: what the correction of the moments' bias depends on. */
  readonly steps: number;
  /** In the order of the parameters. */
  readonly moments: readonly Moments[];
}

/** The gradient of parameter i; of flat gradients a view, which the caller disposes of. */
export function gradientOf(gradients: Gradients, i: number): tf.Tensor {
  return gradients instanceof FlatTensors ? gradients.view(i) : (gradients[i] as tf.Tensor);
}
