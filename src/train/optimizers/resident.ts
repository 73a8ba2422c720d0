import * as tf from '@tensorflow/tfjs-core';
import { FlatTensors, type Gradients } from '../../../kernels/index.js';
import { assignValues, valuesOf, variableFrom } from '../../model/variable.js';
import { adamw } from './adamw.js';
import {
  gradientOf,
  type AdamWOptions,
  type Optimizer,
  type OptimizerState,
  type ParameterOptions,
  type UpdateRule,
} from './optimizer.js';

/** An update rule with its slots on the device, a tensor each. */
export class ResidentOptimizer implements Optimizer {
  private readonly slots: readonly (readonly tf.Variable[])[];
  private steps = 0;

  constructor(
    private readonly rule: UpdateRule,
    private readonly parameters: readonly tf.Variable[],
    private readonly of: ParameterOptions = {},
  ) {
    this.slots = parameters.map((p) => rule.slots.map(({ shape }) => zerosVariable(shape(p.shape))));
  }

  step(gradients: Gradients, learningRate: number, gradientScale: number | tf.Scalar): void {
    const { learningRateScales = [], spared = [] } = this.of;
    const items = this.parameters.map((parameter, i) => ({
      parameter,
      gradient: gradientOf(gradients, i),
      slots: this.slots[i] as readonly tf.Variable[],
      learningRateScale: learningRateScales[i] ?? 1,
      decays: spared[i] !== true,
    }));
    this.rule.update(items, { learningRate, step: ++this.steps, gradientScale, store: assign });
    if (gradients instanceof FlatTensors) tf.dispose(items.map(({ gradient }) => gradient));
  }

  async state(): Promise<OptimizerState> {
    const values = await Promise.all(this.slots.map((slots) => Promise.all(slots.map(valuesOf))));
    return { steps: this.steps, slots: values.map((of) => named(this.rule, of)) };
  }

  restore({ steps, slots }: OptimizerState): void {
    this.steps = steps;
    this.slots.forEach((variables, i) => {
      variables.forEach((variable, k) => {
        assignValues(variable, slots[i]?.[this.rule.slots[k]?.name as string] as Float32Array);
      });
    });
  }

  dispose(): void {
    tf.dispose(this.slots.flat());
  }
}

/** AdamW with its moments on the device: float32, two values a parameter. */
export class AdamW extends ResidentOptimizer {
  constructor(
    parameters: readonly tf.Variable[],
    options: AdamWOptions,
    learningRateScales: readonly number[] = [],
    spared: readonly boolean[] = [],
  ) {
    super(adamw(options), parameters, { learningRateScales, spared });
  }
}

/** Values of one parameter's slots by their names. */
export function named({ slots }: UpdateRule, values: readonly Float32Array[]): Record<string, Float32Array> {
  return Object.fromEntries(slots.map(({ name }, k) => [name, values[k] as Float32Array]));
}

export function assign(variable: tf.Variable, value: tf.Tensor): void {
  variable.assign(value);
}

function zerosVariable(shape: readonly number[]): tf.Variable {
  // Made on the device: `tf.zeros` makes an array on the host first.
  return variableFrom(tf.fill([...shape], 0));
}
