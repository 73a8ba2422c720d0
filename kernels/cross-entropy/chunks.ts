import * as tf from '@tensorflow/tfjs-core';
import { embedding } from '../embedding/kernel.js';
import { softmaxLoss } from './softmax-loss.js';

/**
 * What a batch is supervised on, on the host: hidden row `rows[i]` is to predict token `labels[i]`. Rows are distinct.
 * Where both are −1 there is nothing to predict: a loss of 0.
 */
export interface Targets {
  readonly rows: Int32Array;
  readonly labels: Int32Array;
  /** `[tokens]`: which of the rows each token is, −1 for none; made of `rows` where absent. */
  readonly places?: Int32Array;
}

/** The `places` of rows among `tokens`. */
export function placesOf(rows: Int32Array, tokens: number): Int32Array {
  const places = new Int32Array(tokens).fill(-1);
  rows.forEach((row, i) => {
    if (row >= 0) places[row] = i;
  });
  return places;
}

/** The output layer on some rows. */
export interface Chunk {
  /** `[n, vocab]`; the loss takes it over. */
  readonly logits: tf.Tensor2D;
  /** Gradients of the rows and of each parameter, for those of the logits. */
  readonly pull: (dlogits: tf.Tensor2D) => tf.Tensor[];
}

/** Rows `[n, dim]` and the chunk's number, from 0. */
export type ChunkFunction = (rows: tf.Tensor2D, index: number) => Chunk;

/**
 * Sum of the token losses as a function of the hidden states and the output layer's parameters: its gradients are made
 * on the way, chunk by chunk.
 *
 * @param size rows of a chunk
 * @param training false: no gradient will be asked for
 */
export function lossOverChunks(
  hidden: tf.Tensor2D,
  parameters: readonly tf.Tensor[],
  targets: Targets,
  chunk: ChunkFunction,
  size: number,
  training: boolean,
): tf.Scalar {
  if (!training) return tf.tidy(() => overChunks(hidden, targets, chunk, size, false).lossSum);
  const run = tf.customGrad((...args: (tf.Tensor | tf.GradSaveFunc)[]) => {
    const save = args[args.length - 1] as tf.GradSaveFunc;
    const { lossSum, rowGradients, parameterGradients } = overChunks(hidden, targets, chunk, size, true);
    save([rowGradients as tf.Tensor2D, ...parameterGradients]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => {
      const [rows, ...others] = saved as [tf.Tensor2D, ...tf.Tensor[]];
      return [
        spread(tf.mul(rows, dy), targets.places ?? placesOf(targets.rows, hidden.shape[0])),
        ...others.map((g) => tf.mul(g, dy)),
      ];
    };
    return { value: lossSum, gradFunc };
  });
  return run(hidden, ...parameters) as tf.Scalar;
}

export interface ChunkSums {
  readonly losses: readonly tf.Tensor1D[];
  readonly lossSum: tf.Scalar;
  /** `[rows.length, dim]`; undefined when only the loss was wanted. */
  readonly rowGradients: tf.Tensor2D | undefined;
  readonly parameterGradients: readonly tf.Tensor[];
}

/**
 * `targets` are not empty. Must be called inside a tidy.
 * @param weights `[rows.length, 1]`: factors of the losses, for the gradients alone
 */
export function overChunks(
  hidden: tf.Tensor2D,
  targets: Targets,
  chunk: ChunkFunction,
  size: number,
  withGradient: boolean,
  weights?: tf.Tensor2D,
): ChunkSums {
  const count = targets.rows.length;
  const losses: tf.Tensor1D[] = [];
  const rowGradients: tf.Tensor[] = [];
  let parameters: tf.Tensor[] = [];
  for (let begin = 0; begin < count; begin += size) {
    const [loss, dx, ...gradients] = tf.tidy((): tf.Tensor[] => {
      const x = embedding(hidden, tf.tensor1d(targets.rows.subarray(begin, begin + size), 'int32'));
      const labels = tf.tensor1d(targets.labels.subarray(begin, begin + size), 'int32');
      const { logits, pull } = chunk(x, begin / size);
      const { losses: made, dlogits } = softmaxLoss(logits, labels, withGradient);
      if (dlogits === undefined) return [made];
      if (weights === undefined) return [made, ...pull(dlogits)];
      const weighted = tf.mul<tf.Tensor2D>(dlogits, tf.slice(weights, [begin, 0], [labels.size, 1]));
      dlogits.dispose();
      return [made, ...pull(weighted)];
    });
    losses.push(loss as tf.Tensor1D);
    if (dx !== undefined) rowGradients.push(dx);
    parameters =
      parameters.length === 0 ? gradients : parameters.map((sum, i) => addTo(sum, gradients[i] as tf.Tensor));
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

export function concatRows(parts: readonly tf.Tensor[]): tf.Tensor {
  return parts.length === 1 ? (parts[0] as tf.Tensor) : tf.concat([...parts], 0);
}

/** `[rows.length, dim]` -> `[tokens, dim]` with zeros in the rows that are not named. */
export function spread(values: tf.Tensor2D, places: Int32Array): tf.Tensor2D {
  // Gathering by the inverse needs no addition: embedding() gives zeros for the index −1.
  return embedding(values, tf.tensor1d(places, 'int32'));
}
