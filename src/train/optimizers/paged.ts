import * as tf from '@tensorflow/tfjs-core';
import { FlatTensors, type Gradients } from '../../../kernels/index.js';
import { variableFrom } from '../../model/variable.js';
import {
  gradientOf,
  slotBytes,
  type Optimizer,
  type OptimizerState,
  type ParameterOptions,
  type UpdateRule,
} from './optimizer.js';
import { assign, named } from './resident.js';

/** Slots that are on the device at a time, at most; a larger tensor's are there alone. */
export const PAGE_BYTES = 4 * 2 ** 20;

/**
 * An update rule with its slots in host memory: a page of them at a time goes to the device, is updated there and read
 * back. The same numbers as `ResidentOptimizer` for less device memory and more time. After the paged optimisers of
 * Dettmers et al. 2023, arXiv:2305.14314, which leave the paging to CUDA.
 */
export class PagedOptimizer implements Optimizer {
  /** Of each parameter, in the order of the rule's slots. */
  private slots: Float32Array[][];
  private steps = 0;

  constructor(
    private readonly rule: UpdateRule,
    private readonly parameters: readonly tf.Variable[],
    private readonly of: ParameterOptions = {},
  ) {
    this.slots = parameters.map((p) =>
      rule.slots.map(({ shape }) => new Float32Array(tf.util.sizeFromShape([...shape(p.shape)]))),
    );
  }

  async step(gradients: Gradients, learningRate: number, gradientScale: number | tf.Scalar): Promise<void> {
    this.steps++;
    for (const page of pagesOf(this.parameters.map((p) => slotBytes(this.rule.slots, p.shape))))
      await this.stepPage(page, gradients, learningRate, gradientScale);
  }

  private async stepPage(
    page: readonly number[],
    gradients: Gradients,
    learningRate: number,
    gradientScale: number | tf.Scalar,
  ): Promise<void> {
    const { learningRateScales = [], spared = [] } = this.of;
    const items = page.map((i) => {
      const parameter = this.parameters[i] as tf.Variable;
      const values = this.slots[i] as Float32Array[];
      return {
        parameter,
        gradient: gradientOf(gradients, i),
        slots: this.rule.slots.map(({ shape }, k) => variableOf(values[k] as Float32Array, shape(parameter.shape))),
        learningRateScale: learningRateScales[i] ?? 1,
        decays: spared[i] !== true,
      };
    });
    try {
      this.rule.update(items, { learningRate, step: this.steps, gradientScale, store: assign });
      const read = await Promise.all(
        items.map(({ slots }) => Promise.all(slots.map((slot) => slot.data<'float32'>()))),
      );
      page.forEach((i, k) => (this.slots[i] = read[k] as Float32Array[]));
    } finally {
      for (const { slots, gradient } of items)
        tf.dispose([...slots, ...(gradients instanceof FlatTensors ? [gradient] : [])]);
    }
  }

  async state(): Promise<OptimizerState> {
    const slots = this.slots.map((of) =>
      named(
        this.rule,
        of.map((values) => values.slice()),
      ),
    );
    return { steps: this.steps, slots };
  }

  restore({ steps, slots }: OptimizerState): void {
    this.steps = steps;
    this.slots = slots.map((of) => this.rule.slots.map(({ name }) => (of[name] as Float32Array).slice()));
  }

  dispose(): void {
    this.slots = [];
  }
}

/** Indices of neighbouring tensors that share a page, for tensors whose slots take `bytes` each. */
export function pagesOf(bytes: readonly number[]): number[][] {
  const pages: number[][] = [];
  let room = 0;
  bytes.forEach((size, i) => {
    if (size > room) {
      pages.push([]);
      room = PAGE_BYTES;
    }
    (pages.at(-1) as number[]).push(i);
    room -= size;
  });
  return pages;
}

function variableOf(values: Float32Array, shape: readonly number[]): tf.Variable {
  return variableFrom(tf.tensor(values, [...shape], 'float32'));
}
