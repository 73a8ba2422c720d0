import * as tf from '@tensorflow/tfjs-core';
import { disposeWeight, linear, linears, type FrozenWeight, type LinearMember } from '../../kernels/index.js';

/** What a forward pass tells the layers it runs through. */
export interface ForwardContext {
  /** Seeds the dropout of one pass; undefined means no dropout (evaluation, generation). */
  readonly dropoutSeed?: number;
  /**
   * The result is wanted for its gradient alone, its values may be anything: the last step of what gradient
   * checkpointing computes again.
   */
  readonly valueUnused?: boolean;
}

/** A linear layer y = x·Wᵀ + b as the decoder sees it. Adapters wrap one and take its place. */
export interface Linear {
  /** Module path in the checkpoint, such as `model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** x `[tokens, in]` to `[tokens, out]`. */
  forward(x: tf.Tensor2D, context: ForwardContext): tf.Tensor2D;
  /**
   * What `linears` makes the same result of, together with other layers that read x; absent or undefined where only
   * `forward` can.
   */
  member?(x: tf.Tensor2D, context: ForwardContext): LinearMember | undefined;
}

/** The results of layers that read the same x, in one op where all of them can take part in one. */
export function forwardTogether(layers: readonly Linear[], x: tf.Tensor2D, context: ForwardContext): tf.Tensor2D[] {
  const [first, ...others] = layers;
  if (first === undefined || others.length === 0) return layers.map((layer) => layer.forward(x, context));
  return tf.tidy(() => {
    const members = layers.map((layer) => layer.member?.(x, context));
    if (members.some((member) => member === undefined)) return layers.map((layer) => layer.forward(x, context));
    return linears(x, members as LinearMember[]);
  });
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

  forward(x: tf.Tensor2D, context: ForwardContext = {}): tf.Tensor2D {
    return linear(x, this.weight, this.member(x, context));
  }

  member(_x: tf.Tensor2D, { valueUnused }: ForwardContext): LinearMember {
    return { weight: this.weight, bias: this.bias, valueUnused };
  }

  dispose(): void {
    disposeWeight(this.weight);
    this.bias?.dispose();
  }
}
