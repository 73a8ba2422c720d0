import * as tf from '@tensorflow/tfjs-core';
import { matmul, untracked, type LowRank } from '../../../kernels/index.js';

/** Below this a row counts as zero: its norm is in a denominator. */
const LEAST_SQUARE = 1e-24;

/**
 * ‖wᵢ + s·(B·A)ᵢ‖ of each row, without the sum of the two ever being there:
 * ‖wᵢ‖² + 2s·Σᵣ (A·Wᵀ)ᵣᵢ·Bᵢᵣ + s²·Σᵣ (A·Aᵀ·Bᵀ)ᵣᵢ·Bᵢᵣ, in as many multiplications as r tokens take. A constant to every
 * gradient (section 4.3 of the paper).
 *
 * @param squares ‖wᵢ‖², `[out]`
 * @param awt A·Wᵀ, `[r, out]`
 * @returns `[out]`
 * Source: Liu et al. 2024, arXiv:2402.09353.
 */
export function updatedNorms(squares: tf.Tensor1D, awt: () => tf.Tensor2D, { a, b, scale }: LowRank): tf.Tensor1D {
  return untracked(() => {
    const bt = tf.transpose(b) as tf.Tensor2D;
    const factor = tf.add(tf.mul(awt(), 2 * scale), matmul(matmul(a, a, 'nt'), bt, 'nn', scale * scale));
    return tf.sqrt(tf.maximum(tf.add(squares, tf.sum(tf.mul(bt, factor), 0)), LEAST_SQUARE)) as tf.Tensor1D;
  });
}

/** The trained norms of the rows and what they are measured against. */
export class Magnitude {
  constructor(
    /** m `[out]`. */
    readonly variable: tf.Variable<tf.Rank.R1>,
    /** ‖wᵢ‖² of the frozen weight, `[out]`; zeros until `measure`. */
    private squares: tf.Tensor1D,
  ) {}

  /** @param fresh whether m starts as the norms that are there */
  measure(squares: tf.Tensor1D, fresh: boolean, norms: (squares: tf.Tensor1D) => tf.Tensor1D): void {
    this.squares.dispose();
    this.squares = tf.keep(squares);
    if (fresh) tf.tidy(() => this.variable.assign(norms(squares)));
  }

  /** m / ‖w + s·B·A‖, `[out]`; differentiable in m alone. */
  factor(awt: () => tf.Tensor2D, low: LowRank): tf.Tensor1D {
    return tf.div(this.variable, updatedNorms(this.squares, awt, low));
  }

  dispose(): void {
    this.squares.dispose();
  }
}
