import * as tf from '@tensorflow/tfjs-core';
import { adamwUpdate } from '../../kernels/index.js';

/** Settings that stay the same over a run. Names as in the configuration. */
export interface AdamWOptions {
  readonly adam_beta1: number;
  readonly adam_beta2: number;
  readonly adam_epsilon: number;
  readonly weight_decay: number;
}

/** AdamW with its moments on the device: float32, two values a parameter. */
export class AdamW {
  private readonly moments: readonly { readonly m: tf.Variable; readonly v: tf.Variable }[];
  private steps = 0;

  constructor(
    private readonly parameters: readonly tf.Variable[],
    private readonly options: AdamWOptions,
  ) {
    this.moments = parameters.map((p) => ({ m: zerosVariable(p.shape), v: zerosVariable(p.shape) }));
  }

  /** One update; `gradients` in the order of the parameters, scaled by `gradientScale` (a scalar tensor is not read back). */
  step(gradients: readonly tf.Tensor[], learningRate: number, gradientScale: number | tf.Scalar): void {
    this.steps++;
    const items = this.parameters.map((parameter, i) => {
      const { m, v } = this.moments[i] as { m: tf.Variable; v: tf.Variable };
      return { parameter, gradient: gradients[i] as tf.Tensor, m, v };
    });
    const { adam_beta1: beta1, adam_beta2: beta2, adam_epsilon: epsilon, weight_decay: weightDecay } = this.options;
    adamwUpdate(items, { learningRate, beta1, beta2, epsilon, weightDecay, step: this.steps }, gradientScale);
  }

  dispose(): void {
    for (const { m, v } of this.moments) tf.dispose([m, v]);
  }
}

function zerosVariable(shape: readonly number[]): tf.Variable {
  const zeros = tf.zeros([...shape]);
  const variable = tf.variable(zeros);
  zeros.dispose();
  return variable;
}
