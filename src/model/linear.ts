import type * as tf from '@tensorflow/tfjs-core';
import { disposeWeight, linear, type FrozenWeight } from '../../kernels/index.js';

/** What a forward pass tells the layers it runs through. */
export interface ForwardContext {
  /** Seeds the dropout of one pass; undefined means no dropout (evaluation, generation). */
  readonly dropoutSeed?: number;
}

/** A linear layer y = x·Wᵀ + b as the decoder sees it. Adapters wrap one and take its place. */
export interface Linear {
  /** Module path in the checkpoint, such as `model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** x `[tokens, in]` to `[tokens, out]`. */
  forward(x: tf.Tensor2D, context: ForwardContext): tf.Tensor2D;
}

/** The base model's own layer: dense or 4-bit, never trained. */
export class FrozenLinear implements Linear {
  constructor(
    readonly name: string,
    readonly weight: FrozenWeight,
    readonly bias: tf.Tensor1D | undefined,
  ) {}

  get inFeatures(): number {
    return this.weight.shape[1];
  }

  get outFeatures(): number {
    return this.weight.shape[0];
  }

  forward(x: tf.Tensor2D): tf.Tensor2D {
    return linear(x, this.weight, this.bias === undefined ? {} : { bias: this.bias });
  }

  dispose(): void {
    disposeWeight(this.weight);
    this.bias?.dispose();
  }
}
