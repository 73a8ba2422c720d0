import * as tf from '@tensorflow/tfjs-core';
import {
  canBeFlat,
  flatLayout,
  FlatTensors,
  gpuCopy,
  type FlatLayout,
  type Gradients,
} from '../../../kernels/index.js';
import type { Optimizer, OptimizerState, ParameterOptions, UpdateRule } from './optimizer.js';
import { named } from './resident.js';

/** A stretch of the flat tensors with one learning rate, and one decay. */
interface Span {
  readonly first: number;
  readonly count: number;
  readonly learningRateScale: number;
  readonly decays: boolean;
}

/** The layout in which parameters with the same factor on the learning rate, and the same decay, are neighbours. */
function layoutOf(
  parameters: readonly tf.Variable[],
  scales: readonly number[],
  spared: readonly boolean[],
): { layout: FlatLayout; spans: Span[] } {
  const order = parameters
    .map((_, i) => i)
    .sort(
      (a, b) => (scales[a] ?? 1) - (scales[b] ?? 1) || Number(spared[a] ?? false) - Number(spared[b] ?? false) || a - b,
    );
  const layout = flatLayout(
    parameters.map((p) => p.shape),
    order,
  );
  const spans: Span[] = [];
  for (const [k, i] of order.entries()) {
    const first = layout.firsts[i] as number;
    const end = k + 1 < order.length ? (layout.firsts[order[k + 1] as number] as number) : layout.size;
    const learningRateScale = scales[i] ?? 1;
    const decays = spared[i] !== true;
    const last = spans.at(-1);
    if (last?.learningRateScale === learningRateScale && last.decays === decays)
      spans[spans.length - 1] = { ...last, count: end - last.first };
    else spans.push({ first, count: end - first, learningRateScale, decays });
  }
  return { layout, spans };
}

/** Elements of an update that makes tensors of its size: what it takes for a moment is no share of a device then. */
const BLOCK = 2 ** 20;

function blocksOf({ first, count, ...of }: Span): Span[] {
  return Array.from({ length: Math.ceil(count / BLOCK) }, (_, i) => ({
    ...of,
    first: first + i * BLOCK,
    count: Math.min(BLOCK, count - i * BLOCK),
  }));
}

/**
 * An update rule over parameters, gradients and slots that each lie in one piece of memory: an update is one item for
 * each factor on the learning rate, or several where it makes tensors of its size. The same numbers as `ResidentOptimizer`, on webgpu. The parameters move into that
 * memory, and out of it on dispose.
 */
export class FlatOptimizer implements Optimizer {
  /** Where a backward pass may put its gradients: `step` takes others over into these. */
  readonly gradients: FlatTensors;
  private readonly values: FlatTensors;
  private readonly slots: readonly FlatTensors[];
  private readonly spans: readonly Span[];
  /** Where each parameter is after it was moved. */
  private readonly places: object[] = [];
  private steps = 0;

  constructor(
    private readonly rule: UpdateRule,
    private readonly parameters: readonly tf.Variable[],
    { learningRateScales = [], spared = [] }: ParameterOptions = {},
  ) {
    const { layout, spans } = layoutOf(parameters, learningRateScales, spared);
    this.spans = rule.inPlace ? spans : spans.flatMap(blocksOf);
    this.gradients = new FlatTensors(layout);
    this.values = new FlatTensors(layout);
    this.slots = rule.slots.map(() => new FlatTensors(layout));
    this.settle();
  }

  /** Whether these parameters can be trained so on the current backend, by a rule whose slots have their shapes. */
  static fits(parameters: readonly tf.Variable[], { slots }: Pick<UpdateRule, 'slots'> = { slots: [] }): boolean {
    return (
      slots.every(({ shape }) => parameters.every((p) => tf.util.arraysEqual([...shape(p.shape)], p.shape))) &&
      canBeFlat(flatLayout(parameters.map((p) => p.shape)))
    );
  }

  /** Takes in parameters that were given new values in other memory since. */
  settle(): void {
    const moved = [...this.parameters.keys()].filter((i) => this.parameters[i]?.dataId !== this.places[i]);
    if (moved.length === 0) return;
    this.values.take(
      moved.map((i) => this.parameters[i] as tf.Variable),
      moved,
    );
    for (const i of moved) {
      const [parameter, view] = [this.parameters[i] as tf.Variable, this.values.view(i)];
      parameter.assign(view);
      view.dispose();
      this.places[i] = parameter.dataId;
    }
  }

  step(gradients: Gradients, learningRate: number, gradientScale: number | tf.Scalar): void {
    this.settle();
    const flat = gradients instanceof FlatTensors ? gradients : this.gradients;
    if (!(gradients instanceof FlatTensors)) flat.take(gradients);
    this.steps++;
    const items = this.spans.map(({ first, count, learningRateScale, decays }) => ({
      parameter: this.values.span(first, count),
      gradient: flat.span(first, count),
      slots: this.slots.map((slot) => slot.span(first, count)),
      learningRateScale,
      decays,
    }));
    this.rule.update(items, { learningRate, step: this.steps, gradientScale, store: copyTo });
  }

  async state(): Promise<OptimizerState> {
    const read = await Promise.all(this.slots.map((slot) => slot.read()));
    const slots = this.parameters.map((_, i) =>
      named(
        this.rule,
        read.map((values) => values[i] as Float32Array),
      ),
    );
    return { steps: this.steps, slots };
  }

  restore({ steps, slots }: OptimizerState): void {
    this.steps = steps;
    this.slots.forEach((slot, k) => {
      slot.assign(slots.map((of) => of[this.rule.slots[k]?.name as string] as Float32Array));
    });
  }

  dispose(): void {
    const inside = this.parameters.filter(
      (parameter, i) => !parameter.isDisposed && parameter.dataId === this.places[i],
    );
    const outside = inside.map((parameter) => tf.zeros(parameter.shape));
    if (inside.length > 0)
      gpuCopy(
        tf.backend(),
        inside.map((from, i) => ({ from, to: outside[i] as tf.Tensor })),
      );
    inside.forEach((parameter, i) => {
      parameter.assign(outside[i] as tf.Tensor);
    });
    tf.dispose(outside);
    for (const tensors of [this.gradients, this.values, ...this.slots]) tensors.dispose();
  }
}

/** A span keeps its memory. */
function copyTo(variable: tf.Variable, value: tf.Tensor): void {
  gpuCopy(tf.backend(), [{ from: value, to: variable }]);
}
