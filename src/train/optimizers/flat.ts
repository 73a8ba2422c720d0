import * as tf from '@tensorflow/tfjs-core';
import {
  canBeFlat,
  flatLayout,
  FlatTensors,
  gpuCopy,
  type FlatLayout,
  type Gradients,
} from '../../../kernels/index.js';
import { updateDecayed } from './weight-decay.js';
import type { AdamWOptions, Moments, Optimizer, OptimizerState } from './optimizer.js';

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

/**
 * AdamW over parameters, gradients and moments that each lie in one piece of memory: an update is one dispatch for each
 * factor on the learning rate. The same numbers as `AdamW`, on webgpu. The parameters move into that memory, and out of
 * it on dispose.
 */
export class FlatAdamW implements Optimizer {
  /** Where a backward pass may put its gradients: `step` takes others over into these. */
  readonly gradients: FlatTensors;
  private readonly values: FlatTensors;
  private readonly m: FlatTensors;
  private readonly v: FlatTensors;
  private readonly spans: readonly Span[];
  /** Where each parameter is after it was moved. */
  private readonly places: object[] = [];
  private steps = 0;

  constructor(
    private readonly parameters: readonly tf.Variable[],
    private readonly options: AdamWOptions,
    /** Factors on the learning rate, in the order of the parameters; 1 where absent. */
    learningRateScales: readonly number[] = [],
    /** Which of them do not decay; none unless told. */
    spared: readonly boolean[] = [],
  ) {
    const { layout, spans } = layoutOf(parameters, learningRateScales, spared);
    this.spans = spans;
    [this.gradients, this.values, this.m, this.v] = Array.from({ length: 4 }, () => new FlatTensors(layout)) as [
      FlatTensors,
      FlatTensors,
      FlatTensors,
      FlatTensors,
    ];
    this.settle();
  }

  /** Whether these parameters can be trained so on the current backend. */
  static fits(parameters: readonly tf.Variable[]): boolean {
    return canBeFlat(flatLayout(parameters.map((p) => p.shape)));
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
    const items = this.spans.map(({ first, count, learningRateScale, decays }) => {
      const [parameter, gradient, m, v] = [this.values, flat, this.m, this.v].map((tensors) =>
        tensors.span(first, count),
      ) as [tf.Variable, tf.Variable, tf.Variable, tf.Variable];
      return { parameter, gradient, m, v, learningRateScale, decays };
    });
    updateDecayed(items, this.options, learningRate, this.steps, gradientScale);
  }

  async state(): Promise<OptimizerState> {
    const [m, v] = (await Promise.all([this.m.read(), this.v.read()])) as [Float32Array[], Float32Array[]];
    return { steps: this.steps, moments: m.map((values, i): Moments => ({ m: values, v: v[i] as Float32Array })) };
  }

  restore({ steps, moments }: OptimizerState): void {
    this.steps = steps;
    this.m.assign(moments.map(({ m }) => m));
    this.v.assign(moments.map(({ v }) => v));
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
    for (const tensors of [this.gradients, this.values, this.m, this.v]) tensors.dispose();
  }
}
