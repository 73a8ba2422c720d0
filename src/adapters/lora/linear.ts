import * as tf from '@tensorflow/tfjs-core';
import {
  disposeWeight,
  dropout,
  linear,
  type FrozenWeight,
  type LinearMember,
  type LowRank,
} from '../../../kernels/index.js';
import type { ForwardContext, FrozenLinear, Linear } from '../../model/linear.js';
import { squaredRowNorms } from './base-values.js';
import { updatedNorms, type Magnitude } from './dora.js';

/** A frozen weight taken apart: W ≈ weight + s·B·A. */
export interface Decomposition {
  readonly a: Float32Array;
  readonly b: Float32Array;
  /** What stays frozen instead of the base's weight. */
  readonly weight: FrozenWeight;
}

/** How a layer comes by its values. */
export interface LoraStart {
  /** Whether A, B and the magnitudes take the values that the base's weight gives; else they have theirs already. */
  readonly fresh: boolean;
  /** Absent: the base's weight stays as it is. */
  readonly decompose?: ((base: FrozenLinear) => Promise<Decomposition>) | undefined;
}

/**
 * A frozen linear layer with a low-rank update: y = x·Wᵀ + b + s·(dropout(x)·Aᵀ)·Bᵀ, A `[r, in]`, B `[out, r]`, s = α/r
 * (or α/√r). With magnitudes m the rows of W + s·B·A are scaled to them, g = m / ‖W + s·B·A‖: y = g∘(x·Wᵀ +
 * s·(x·Aᵀ)·Bᵀ) + b. Hu et al. 2021, arXiv:2106.09685; Liu et al. 2024, arXiv:2402.09353.
 */
export class LoraLinear implements Linear {
  /** W, or what is left of it beside B·A as it started. */
  weight: FrozenWeight;
  /** A and B as they started, where the base's weight was taken apart. */
  initial: Decomposition | undefined;

  constructor(
    readonly base: FrozenLinear,
    readonly a: tf.Variable<tf.Rank.R2>,
    readonly b: tf.Variable<tf.Rank.R2>,
    readonly scale: number,
    private readonly dropoutRate: number,
    /** Position among the adapted layers: gives each its own dropout mask. */
    private readonly index: number,
    readonly magnitude?: Magnitude,
    private readonly start: LoraStart = { fresh: false },
  ) {
    this.weight = base.weight;
  }

  get name(): string {
    return this.base.name;
  }

  get inFeatures(): number {
    return this.base.inFeatures;
  }

  get outFeatures(): number {
    return this.base.outFeatures;
  }

  /** Reads the base's weight where the start wants it. */
  async initialize(): Promise<void> {
    const { fresh, decompose } = this.start;
    if (decompose !== undefined) {
      this.release();
      this.initial = await decompose(this.base);
      this.weight = this.initial.weight;
      if (fresh) assign(this.a, this.initial.a);
      if (fresh) assign(this.b, this.initial.b);
    }
    this.magnitude?.measure(await squaredRowNorms(this.weight), fresh, (squares) =>
      updatedNorms(squares, () => linear(this.a as tf.Tensor2D, this.weight), this.low()),
    );
  }

  /** Magnitudes need the result before the bias is in it. */
  member(x: tf.Tensor2D, context: ForwardContext): LinearMember | undefined {
    if (this.magnitude !== undefined) return undefined;
    const seed = this.seed(context);
    const { bias } = this.base;
    return {
      weight: this.weight,
      bias,
      lora: this.low(),
      valueUnused: context.valueUnused,
      ...(seed === undefined ? {} : { loraInput: dropout(x, this.dropoutRate, seed) }),
    };
  }

  forward(x: tf.Tensor2D, context: ForwardContext): tf.Tensor2D {
    return tf.tidy(() => {
      const member = this.member(x, context);
      if (member !== undefined) return linear(x, member.weight, member);
      const { bias } = this.base;
      const dropped = this.seed(context);
      const factor = (this.magnitude as Magnitude).factor(() => linear(this.a as tf.Tensor2D, this.weight), this.low());
      if (dropped === undefined) {
        const y = tf.mul<tf.Tensor2D>(linear(x, this.weight, { lora: this.low() }), factor);
        return bias === undefined ? y : tf.add<tf.Tensor2D>(y, bias);
      }
      // PEFT: the base sees all of x, and what the magnitudes add to it what dropout leaves: x·Wᵀ + b + (g − 1)∘x'·Wᵀ +
      // g∘update(x').
      const left = dropout(x, this.dropoutRate, dropped);
      return tf.add(
        linear(tf.sub(x, left), this.weight, { bias }),
        tf.mul<tf.Tensor2D>(linear(left, this.weight, { lora: this.low() }), factor),
      );
    });
  }

  dispose(): void {
    this.release();
    this.magnitude?.dispose();
  }

  private low(): LowRank {
    return { a: this.a as tf.Tensor2D, b: this.b as tf.Tensor2D, scale: this.scale };
  }

  /** Of the dropout of a pass; undefined without. */
  private seed({ dropoutSeed: pass }: ForwardContext): number | undefined {
    if (this.dropoutRate === 0 || pass === undefined) return undefined;
    return (pass ^ Math.imul(this.index + 1, 0x9e3779b1)) >>> 0;
  }

  /** Lets go of a weight of its own. */
  private release(): void {
    if (this.weight !== this.base.weight) disposeWeight(this.weight);
    this.weight = this.base.weight;
  }
}

function assign(variable: tf.Variable, values: Float32Array): void {
  tf.tidy(() => variable.assign(tf.tensor(values, variable.shape)));
}
