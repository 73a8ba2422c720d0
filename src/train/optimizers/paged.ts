import * as tf from '@tensorflow/tfjs-core';
import { FlatTensors, type Gradients } from '../../../kernels/index.js';
import { variableFrom } from '../../model/variable.js';
import { gradientOf, type AdamWOptions, type Moments, type Optimizer, type OptimizerState } from './optimizer.js';
import { updateDecayed } from './weight-decay.js';

/** Moments that are on the device at a time, at most; a larger tensor's are there alone. */
export const PAGE_BYTES = 4 * 2 ** 20;

/**
 * AdamW with its moments in host memory: a page of them at a time goes to the device, is updated there and read back.
 * The same numbers as `AdamW` for less device memory and more time. After the paged optimisers of Dettmers et al. 2023,
 * arXiv:2305.14314, which leave the paging to CUDA.
 */
export class PagedAdamW implements Optimizer {
  private readonly moments: Moments[];
  private steps = 0;

  constructor(
    private readonly parameters: readonly tf.Variable[],
    private readonly options: AdamWOptions,
    /** Factors on the learning rate, in the order of the parameters; 1 where absent. */
    private readonly learningRateScales: readonly number[] = [],
    /** Which of them do not decay; none unless told. */
    private readonly spared: readonly boolean[] = [],
  ) {
    this.moments = parameters.map((p) => ({ m: new Float32Array(p.size), v: new Float32Array(p.size) }));
  }

  async step(gradients: Gradients, learningRate: number, gradientScale: number | tf.Scalar): Promise<void> {
    this.steps++;
    for (const page of pagesOf(this.parameters.map((p) => 8 * p.size)))
      await this.stepPage(page, gradients, learningRate, gradientScale);
  }

  private async stepPage(
    page: readonly number[],
    gradients: Gradients,
    learningRate: number,
    gradientScale: number | tf.Scalar,
  ): Promise<void> {
    const items = page.map((i) => {
      const parameter = this.parameters[i] as tf.Variable;
      const { m, v } = this.moments[i] as Moments;
      return {
        parameter,
        gradient: gradientOf(gradients, i),
        m: variableOf(m, parameter.shape),
        v: variableOf(v, parameter.shape),
        learningRateScale: this.learningRateScales[i] ?? 1,
        decays: this.spared[i] !== true,
      };
    });
    try {
      updateDecayed(items, this.options, learningRate, this.steps, gradientScale);
      const read = await Promise.all(
        items.map(async ({ m, v }) => ({ m: await m.data<'float32'>(), v: await v.data<'float32'>() })),
      );
      page.forEach((i, k) => (this.moments[i] = read[k] as Moments));
    } finally {
      for (const { m, v, gradient } of items)
        tf.dispose([m, v, ...(gradients instanceof FlatTensors ? [gradient] : [])]);
    }
  }

  async state(): Promise<OptimizerState> {
    return { steps: this.steps, moments: this.moments.map(({ m, v }) => ({ m: m.slice(), v: v.slice() })) };
  }

  restore({ steps, moments }: OptimizerState): void {
    this.steps = steps;
    moments.forEach(({ m, v }, i) => (this.moments[i] = { m: m.slice(), v: v.slice() }));
  }

  dispose(): void {
    this.moments.length = 0;
  }
}

/** Indices of neighbouring tensors that share a page, for tensors whose moments take `bytes` each. */
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
