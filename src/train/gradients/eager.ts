import * as tf from '@tensorflow/tfjs-core';
import { accumulate, valueAndGradients } from '../../../kernels/index.js';
import type { Decoder } from '../../model/decoder.js';
import { objectiveSums, type Objective, type ObjectiveContext, type ObjectiveInputs } from '../objectives/objective.js';
import { addSums, splitSums, type GradientAccumulator, type LossAndGradients } from './accumulator.js';

/** As any backend does it: one tensor per gradient. */
export class EagerAccumulator implements GradientAccumulator<readonly tf.Tensor[]> {
  readonly fewShapes = false;

  constructor(
    readonly decoder: Decoder,
    private readonly parameters: readonly tf.Tensor[],
    readonly objective: Objective,
  ) {}

  add(
    sum: LossAndGradients<readonly tf.Tensor[]> | undefined,
    inputs: ObjectiveInputs,
    scale: number,
    context: ObjectiveContext,
  ): LossAndGradients<readonly tf.Tensor[]> {
    const { value, gradients } = valueAndGradients(
      () => tf.mul(objectiveSums(this.objective, this.decoder, inputs, context), scale),
      this.parameters,
    );
    const made = splitSums(value);
    if (sum === undefined) return { ...made, gradients };
    return { ...addSums(sum, made), gradients: accumulate(sum.gradients, gradients) };
  }

  release({ loss, metrics, gradients }: LossAndGradients<readonly tf.Tensor[]>): void {
    tf.dispose([loss, ...gradients]);
    metrics?.dispose();
  }

  dispose(): void {
    // Nothing is kept.
  }
}
