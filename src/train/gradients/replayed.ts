import * as tf from '@tensorflow/tfjs-core';
import {
  accumulateFlat,
  flatLayout,
  FlatTensors,
  gpuCopy,
  Replays,
  valueAndGradients,
  type StepInputs,
} from '../../../kernels/index.js';
import type { Decoder } from '../../model/decoder.js';
import { objectiveSums, type Objective, type ObjectiveContext, type ObjectiveInputs } from '../objectives/objective.js';
import type { FlatOptimizer } from '../optimizers/flat.js';
import { addSums, splitSums, type GradientAccumulator, type LossAndGradients } from './accumulator.js';

/**
 * On webgpu: gradients go into one piece of memory, and the commands of a micro-batch are recorded once a shape and
 * replayed, without the JavaScript that makes them. Numbers are those of `EagerAccumulator` to the bit.
 */
export class ReplayedAccumulator implements GradientAccumulator<FlatTensors> {
  readonly fewShapes = true;
  private readonly replays: Replays;
  /** Of the latest micro-batch. */
  private readonly gradients: FlatTensors;
  private sums: FlatTensors | undefined;

  /** @param optimizer whose parameters and gradients lie in one piece each; undefined: only the gradients do */
  constructor(
    readonly decoder: Decoder,
    private readonly parameters: readonly tf.Tensor[],
    readonly objective: Objective,
    private readonly optimizer: FlatOptimizer | undefined,
    onRefused?: (reason: string) => void,
  ) {
    this.gradients = optimizer?.gradients ?? new FlatTensors(flatLayout(parameters.map((p) => p.shape)));
    this.replays = new Replays(tf.backend(), { results: [this.gradients.flat], watched: parameters, onRefused });
  }

  /** Micro-batches whose commands were replayed. */
  get replayed(): number {
    return this.replays.replayed;
  }

  add(
    sum: LossAndGradients<FlatTensors> | undefined,
    inputs: ObjectiveInputs,
    scale: number,
    context: ObjectiveContext,
  ): LossAndGradients<FlatTensors> {
    this.optimizer?.settle();
    const sums = sum === undefined ? undefined : this.sumsWith(sum.gradients);
    const made = splitSums(this.run(inputs, scale, context));
    if (sum === undefined || sums === undefined) return { ...made, gradients: this.gradients };
    accumulateFlat(sums, this.gradients);
    return { ...addSums(sum, made), gradients: sums };
  }

  release({ loss, metrics }: LossAndGradients): void {
    loss.dispose();
    metrics?.dispose();
  }

  dispose(): void {
    this.replays.dispose();
    this.sums?.dispose();
    if (this.optimizer === undefined) this.gradients.dispose();
  }

  /** Gradients so far, where the next micro-batch does not go over them. */
  private sumsWith(gradients: FlatTensors): FlatTensors {
    this.sums ??= new FlatTensors(this.gradients.layout);
    if (gradients === this.gradients) gpuCopy(tf.backend(), [{ from: this.gradients.flat, to: this.sums.flat }]);
    return this.sums;
  }

  /** @returns the sums; the gradients are in their place. */
  private run(inputs: ObjectiveInputs, scale: number, context: ObjectiveContext): tf.Tensor {
    const { arrays, shape } = inputs;
    const factor = Float32Array.of(scale);
    const { dropoutSeed, gradientCheckpointing } = context;
    const eager = (): tf.Tensor => {
      const scaled = (): tf.Tensor =>
        tf.mul(objectiveSums(this.objective, this.decoder, inputs, context), tf.tensor(factor, []));
      const { value, gradients } = valueAndGradients(scaled, this.parameters);
      this.gradients.take(gradients);
      tf.dispose(gradients);
      return value;
    };
    if (shape === undefined) return eager();
    const changing: StepInputs = { ...arrays, factor, ...(dropoutSeed === undefined ? {} : { dropoutSeed }) };
    return this.replays.run(
      `${shape}${gradientCheckpointing === undefined ? '' : ' with gradient checkpointing'}`,
      changing,
      eager,
    );
  }
}
