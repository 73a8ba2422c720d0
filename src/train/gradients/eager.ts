import * as tf from '@tensorflow/tfjs-core';
import { accumulate, valueAndGradients } from '../../../kernels/index.js';
import type { Decoder } from '../../model/decoder.js';
import { lossSumOf, type LossInputs, type LossOptions } from '../../model/loss.js';
import { addLoss, type GradientAccumulator, type LossAndGradients } from './accumulator.js';

/** As any backend does it: a tensor a gradient. */
export class EagerAccumulator implements GradientAccumulator<readonly tf.Tensor[]> {
  constructor(
    readonly decoder: Decoder,
    private readonly parameters: readonly tf.Tensor[],
  ) {}

  add(
    sum: LossAndGradients<readonly tf.Tensor[]> | undefined,
    inputs: LossInputs,
    scale: number,
    options: LossOptions,
  ): LossAndGradients<readonly tf.Tensor[]> {
    const { value, gradients } = valueAndGradients(
      () => tf.mul(lossSumOf(this.decoder, inputs, options), scale),
      this.parameters,
    );
    if (sum === undefined) return { loss: value, gradients };
    return { loss: addLoss(sum.loss, value), gradients: accumulate(sum.gradients, gradients) };
  }

  release({ loss, gradients }: LossAndGradients<readonly tf.Tensor[]>): void {
    tf.dispose([loss, ...gradients]);
  }

  dispose(): void {
    // Nothing is kept.
  }
}
