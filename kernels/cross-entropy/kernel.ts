import * as tf from '@tensorflow/tfjs-core';
import { targetBackend } from '../dry-run/backend.js';
import { embedding } from '../embedding/kernel.js';
import type { FrozenWeight } from '../types.js';
import { hiddenGradient, logitsOf, weightGradient } from './products.js';
import { softmaxLoss } from './softmax-loss.js';

/** What a batch is supervised on, on the host: hidden row `rows[i]` is to predict token `labels[i]`. Rows are distinct. */
export interface Targets {
  readonly rows: Int32Array;
  readonly labels: Int32Array;
}

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
 * Sum of token losses, Σᵢ −log softmax(hidden[rows[i]]·Wᵀ + bias)[labels[i]]. Output layer and loss run together over chunks of
 * supervised rows, and the gradients are made on the way, so that logits of all rows never exist at once.
 *
 * @param hidden `[tokens, dim]` float32
 * @param weight `[vocab, dim]`
 * @returns scalar, in nats; 0 without targets
 * @throws Error when shapes do not fit, or weightGradient is asked of a 4-bit weight
 * Source: the chunked loss of Hsu et al. 2024, arXiv:2410.10989.
 */
export function crossEntropySum(hidden: tf.Tensor2D, weight: FrozenWeight, targets: Targets, options: CrossEntropyOptions = {}): tf.Scalar {
  checkTargets(hidden, weight, targets);
  const { training = true, weightGradient: toWeight = false, bias } = options;
  // tfjs's webgpu has no sum of nothing. A loss without targets depends on no parameter: its gradients are zeros by definition.
  if (targets.rows.length === 0) return tf.scalar(0);
  if (!training) return tf.tidy(() => overChunks(hidden, weight, targets, options, 'loss').lossSum);
  tf.util.assert(!toWeight || weight.kind === 'dense', () => 'crossEntropySum: a 4-bit weight takes no gradient');
  const run = tf.customGrad((...args: (tf.Tensor | tf.GradSaveFunc)[]) => {
    const save = args[args.length - 1] as tf.GradSaveFunc;
    const { lossSum, rowGradients, parameterGradients } = overChunks(hidden, weight, targets, options, toWeight ? 'all' : 'hidden');
    save([rowGradients as tf.Tensor2D, ...parameterGradients]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => {
      const [rows, ...parameters] = saved as [tf.Tensor2D, ...tf.Tensor[]];
      return [spread(tf.mul(rows, dy), targets.rows, hidden.shape[0]), ...parameters.map((g) => tf.mul(g, dy))];
    };
    return { value: lossSum, gradFunc };
  });
  const parameters = toWeight && weight.kind === 'dense' ? [weight.values, ...(bias === undefined ? [] : [bias])] : [];
  return run(hidden, ...parameters) as tf.Scalar;
}

/**
 * Loss of each supervised row, −log softmax(hidden[rows[i]]·Wᵀ + bias)[labels[i]], without gradients.
 *
 * @returns `[rows.length]`, in nats
 */
export function tokenLosses(hidden: tf.Tensor2D, weight: FrozenWeight, targets: Targets, options: HeadOptions = {}): tf.Tensor1D {
  checkTargets(hidden, weight, targets);
  if (targets.rows.length === 0) return tf.tensor1d([], 'float32');
  return tf.tidy(() => concatRows(overChunks(hidden, weight, targets, options, 'loss').losses) as tf.Tensor1D);
}

/** Rows whose logits exist at a time. */
export function headChunkRows(vocab: number, chunkBytes = (targetBackend() === 'webgpu' ? 64 : 8) * 2 ** 20): number {
  return Math.max(1, Math.floor(chunkBytes / (4 * vocab)));
}

interface ChunkSums {
  readonly losses: readonly tf.Tensor1D[];
  readonly lossSum: tf.Scalar;
  /** `[rows.length, dim]`; undefined when only the loss was wanted. */
  readonly rowGradients: tf.Tensor2D | undefined;
  /** For the weight, and for the bias if there is one. */
  readonly parameterGradients: readonly tf.Tensor[];
}

/** `targets` are not empty. Must be called inside a tidy. */
function overChunks(hidden: tf.Tensor2D, weight: FrozenWeight, targets: Targets, options: CrossEntropyOptions, want: 'loss' | 'hidden' | 'all'): ChunkSums {
  const [vocab] = weight.shape;
  const count = targets.rows.length;
  const size = headChunkRows(vocab, options.chunkBytes);
  const losses: tf.Tensor1D[] = [];
  const rowGradients: tf.Tensor[] = [];
  let parameters: tf.Tensor[] = [];
  for (let begin = 0; begin < count; begin += size) {
    const [loss, dx, ...gradients] = tf.tidy((): tf.Tensor[] => {
      const x = embedding(hidden, tf.tensor1d(targets.rows.subarray(begin, begin + size), 'int32'));
      const labels = tf.tensor1d(targets.labels.subarray(begin, begin + size), 'int32');
      const made = softmaxLoss(logitsOf(x, weight, options.bias), labels, want !== 'loss');
      const { dlogits } = made;
      if (dlogits === undefined) return [made.losses];
      const dx = hiddenGradient(dlogits, weight);
      if (want !== 'all') return [made.losses, dx];
      return [made.losses, dx, weightGradient(dlogits, x), ...(options.bias === undefined ? [] : [tf.sum(dlogits, 0)])];
    });
    losses.push(loss as tf.Tensor1D);
    if (dx !== undefined) rowGradients.push(dx);
    parameters = parameters.length === 0 ? gradients : parameters.map((sum, i) => addTo(sum, gradients[i] as tf.Tensor));
  }
  return {
    losses,
    lossSum: tf.sum(concatRows(losses)),
    rowGradients: rowGradients.length === 0 ? undefined : (concatRows(rowGradients) as tf.Tensor2D),
    parameterGradients: parameters,
  };
}

function addTo(sum: tf.Tensor, more: tf.Tensor): tf.Tensor {
  const total = tf.add(sum, more);
  tf.dispose([sum, more]);
  return total;
}

function concatRows(parts: readonly tf.Tensor[]): tf.Tensor {
  return parts.length === 1 ? (parts[0] as tf.Tensor) : tf.concat([...parts], 0);
}

/** `[rows.length, dim]` -> `[tokens, dim]` with zeros in the rows that are not named. */
function spread(values: tf.Tensor2D, rows: Int32Array, tokens: number): tf.Tensor2D {
  // Gathering by the inverse needs no addition: embedding() gives zeros for the index −1.
  const inverse = new Int32Array(tokens).fill(-1);
  rows.forEach((row, i) => (inverse[row] = i));
  return embedding(values, tf.tensor1d(inverse, 'int32'));
}

function checkTargets(hidden: tf.Tensor2D, weight: FrozenWeight, { rows, labels }: Targets): void {
  const [vocab, dim] = weight.shape;
  tf.util.assert(hidden.shape[1] === dim, () => `cross-entropy: hidden is [${hidden.shape.join(', ')}], the weight [${vocab}, ${dim}]`);
  tf.util.assert(rows.length === labels.length, () => `cross-entropy: ${rows.length} rows but ${labels.length} labels`);
  tf.util.assert(rows.every((row) => row >= 0 && row < hidden.shape[0]), () => `cross-entropy: a row is outside [0, ${hidden.shape[0]})`);
  tf.util.assert(labels.every((label) => label >= 0 && label < vocab), () => `cross-entropy: a label is outside [0, ${vocab})`);
}
