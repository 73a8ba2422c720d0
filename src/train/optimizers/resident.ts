import * as tf from '@tensorflow/tfjs-core';
import { FlatTensors, type Gradients } from '../../../kernels/index.js';
import { assignValues, valuesOf, variableFrom } from '../../model/variable.js';
import { gradientOf, type AdamWOptions, type Moments, type Optimizer, type OptimizerState } from './optimizer.js';
import { updateDecayed } from './weight-decay.js';

/** AdamW with its moments on the device: float32, two values a parameter. */
export class AdamW implements Optimizer {
  private readonly moments: readonly { readonly m: tf.Variable; readonly v: tf.Variable }[];
  private steps = 0;

  constructor(
    private readonly parameters: readonly tf.Variable[],
    private readonly options: AdamWOptions,
    /** Factors on the learning rate, in the order of the parameters; 1 where absent. */
    private readonly learningRateScales: readonly number[] = [],
    /** Which of them do not decay; none unless told. */
    private readonly spared: readonly boolean[] = [],
  ) {
    this.moments = parameters.map((p) => ({ m: zerosVariable(p.shape), v: zerosVariable(p.shape) }));
  }

  step(gradients: Gradients, learningRate: number, gradientScale: number | tf.Scalar): void {
    const items = this.parameters.map((parameter, i) => {
      const { m, v } = this.moments[i] as { m: tf.Variable; v: tf.Variable };
      return {
        parameter,
        gradient: gradientOf(gradients, i),
        m,
        v,
        learningRateScale: this.learningRateScales[i] ?? 1,
        decays: this.spared[i] !== true,
      };
    });
    updateDecayed(items, this.options, learningRate, ++this.steps, gradientScale);
    if (gradients instanceof FlatTensors) tf.dispose(items.map(({ gradient }) => gradient));
  }

  async state(): Promise<OptimizerState> {
    return {
      steps: this.steps,
      moments: await Promise.all(
        this.moments.map(async ({ m, v }) => ({ m: await valuesOf(m), v: await valuesOf(v) })),
      ),
    };
  }

  restore({ steps, moments }: OptimizerState): void {
    this.steps = steps;
    this.moments.forEach(({ m, v }, i) => {
      const saved = moments[i] as Moments;
      assignValues(m, saved.m);
      assignValues(v, saved.v);
    });
  }

  dispose(): void {
    for (const { m, v } of this.moments) tf.dispose([m, v]);
  }
}

function zerosVariable(shape: readonly number[]): tf.Variable {
  // Made on the device: `tf.zeros` makes an array on the host first.
  return variableFrom(tf.fill([...shape], 0));
}
