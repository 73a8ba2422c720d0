import * as tf from '@tensorflow/tfjs-core';
import { targetBackend } from '../dry-run/backend.js';
import { pullback } from '../runtime/gradients/gradients.js';
import type { FrozenWeight } from '../types.js';
import { concatRows, lossOverChunks, overChunks, type Chunk, type ChunkFunction, type Targets } from './chunks.js';
import { hiddenGradient, logitsOf, weightGradient } from './products.js';

export interface HeadOptions {
  /** `[vocab]`. */
  readonly bias?: tf.Tensor1D;
  /** Bytes of logits that exist at a time. Default 8 MB, on webgpu 64 MB. */
  readonly chunkBytes?: number;
}

export interface CrossEntropyOptions extends HeadOptions {
  /** false: no gradient will be asked for, and none is prepared. Default true. */
  readonly training?: boolean;
  /** true: the gradient also reaches the weight (which must be dense) and the bias. Default false. */
  readonly weightGradient?: boolean;
}

/**
 * Sum of token losses, Σᵢ −log softmax(hidden[rows[i]]·Wᵀ + bias)[labels[i]]. Output layer and loss run together over
 * chunks of supervised rows, and the gradients are made on the way, so that logits of all rows never exist at once.
 *
 * @param hidden `[tokens, dim]` float32
 * @param weight `[vocab, dim]`
 * @returns scalar, in nats; 0 without targets
 * @throws Error when shapes do not fit, or weightGradient is asked of a 4-bit weight
 * Source: the chunked loss of Hsu et al. 2024, arXiv:2410.10989.
 */
export function crossEntropySum(
  hidden: tf.Tensor2D,
  weight: FrozenWeight,
  targets: Targets,
  options: CrossEntropyOptions = {},
): tf.Scalar {
  checkInputs(hidden, weight.shape, targets);
  const { training = true, weightGradient: toWeight = false, bias } = options;
  // tfjs's webgpu has no sum of nothing. A loss without targets depends on no parameter: its gradients are zeros by
  // definition.
  if (targets.rows.length === 0) return tf.scalar(0);
  const { parameters, chunk } = weightChunks(weight, bias, toWeight);
  return lossOverChunks(
    hidden,
    parameters,
    targets,
    chunk,
    headChunkRows(weight.shape[0], options.chunkBytes),
    training,
  );
}

/** An output layer of any making, applied to a chunk of rows at a time. */
export interface HeadFunction {
  readonly vocab: number;
  /**
   * Differentiable scores `[n, vocab]` of hidden rows `[n, dim]`, in memory that no other tensor shares.
   * @param chunk counted from 0, so that each chunk may have a dropout mask of its own
   */
  logits(rows: tf.Tensor2D, chunk: number): tf.Tensor2D;
  /** What it depends on besides the rows and gets gradients. */
  readonly parameters: readonly tf.Tensor[];
}

/**
 * As {@link crossEntropySum}, for an output layer that carries an adapter: the gradients of its parameters are summed
 * up over the chunks, each by the backward pass of that chunk's logits alone.
 *
 * @returns scalar, in nats; 0 without targets
 */
export function crossEntropyThrough(
  head: HeadFunction,
  hidden: tf.Tensor2D,
  targets: Targets,
  options: { training?: boolean; chunkBytes?: number } = {},
): tf.Scalar {
  checkInputs(hidden, [head.vocab, hidden.shape[1]], targets);
  if (targets.rows.length === 0) return tf.scalar(0);
  const { training = true, chunkBytes } = options;
  const chunk = headChunks(head, training);
  return lossOverChunks(hidden, head.parameters, targets, chunk, headChunkRows(head.vocab, chunkBytes), training);
}

/**
 * Loss of each supervised row, −log softmax(hidden[rows[i]]·Wᵀ + bias)[labels[i]], without gradients.
 *
 * @returns `[rows.length]`, in nats
 */
export function tokenLosses(
  hidden: tf.Tensor2D,
  weight: FrozenWeight,
  targets: Targets,
  options: HeadOptions = {},
): tf.Tensor1D {
  checkInputs(hidden, weight.shape, targets);
  if (targets.rows.length === 0) return tf.tensor1d([], 'float32');
  const chunk = (x: tf.Tensor2D): Chunk => ({ logits: logitsOf(x, weight, options.bias), pull: () => [] });
  return tf.tidy(
    () =>
      concatRows(
        overChunks(hidden, targets, chunk, headChunkRows(weight.shape[0], options.chunkBytes), false).losses,
      ) as tf.Tensor1D,
  );
}

/** Rows whose logits exist at a time. */
export function headChunkRows(vocab: number, chunkBytes = (targetBackend() === 'webgpu' ? 64 : 8) * 2 ** 20): number {
  return Math.max(1, Math.floor(chunkBytes / (4 * vocab)));
}

/**
 * Entries of −1 and −1 count for nothing.
 *
 * @param tokens rows of the hidden states
 * @throws Error when a row or a label is out of range
 */
export function checkTargets({ rows, labels }: Targets, tokens: number, vocab: number): void {
  tf.util.assert(rows.length === labels.length, () => `cross-entropy: ${rows.length} rows but ${labels.length} labels`);
  tf.util.assert(
    rows.every((row, i) => (row >= 0 && row < tokens) || (row === -1 && labels[i] === -1)),
    () => `cross-entropy: a row is outside [0, ${tokens})`,
  );
  tf.util.assert(
    labels.every((label, i) => (label >= 0 && label < vocab) || (label === -1 && rows[i] === -1)),
    () => `cross-entropy: a label is outside [0, ${vocab})`,
  );
}

/** A frozen or trained weight as the chunks of a loss see it. */
export function weightChunks(
  weight: FrozenWeight,
  bias: tf.Tensor1D | undefined,
  toWeight: boolean,
): { readonly parameters: readonly tf.Tensor[]; readonly chunk: ChunkFunction } {
  tf.util.assert(!toWeight || weight.kind === 'dense', () => 'cross-entropy: a 4-bit weight takes no gradient');
  const parameters = toWeight && weight.kind === 'dense' ? [weight.values, ...(bias === undefined ? [] : [bias])] : [];
  const chunk = (x: tf.Tensor2D): Chunk => ({
    logits: logitsOf(x, weight, bias),
    pull: (dlogits) => [
      hiddenGradient(dlogits, weight),
      ...(parameters.length === 0
        ? []
        : [weightGradient(dlogits, x), ...(bias === undefined ? [] : [tf.sum(dlogits, 0)])]),
    ],
  });
  return { parameters, chunk };
}

/** The same of an output layer of any making. */
export function headChunks(head: HeadFunction, training: boolean): ChunkFunction {
  return (x, index) => {
    if (!training) return { logits: head.logits(x, index), pull: () => [] };
    const recorded = pullback(() => head.logits(x, index), [x, ...head.parameters]);
    const pull = (dlogits: tf.Tensor2D): tf.Tensor[] => {
      const gradients = recorded.pull(dlogits);
      recorded.dispose();
      return gradients;
    };
    return { logits: recorded.value as tf.Tensor2D, pull };
  };
}

/** @throws Error when shapes do not fit, or a row or a label is out of range */
export function checkInputs(hidden: tf.Tensor2D, [vocab, dim]: readonly [number, number], targets: Targets): void {
  tf.util.assert(
    hidden.shape[1] === dim,
    () => `cross-entropy: hidden is [${hidden.shape.join(', ')}], the weight [${vocab}, ${dim}]`,
  );
  checkTargets(targets, hidden.shape[0], vocab);
}
