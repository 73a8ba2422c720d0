import * as tf from '@tensorflow/tfjs-core';
import { embedding } from '../../kernels/index.js';
import type { ForwardContext } from './linear.js';

/** Trained vectors that stand in front of every row as if they were embedded tokens (soft prompts). */
export interface Prefix {
  readonly length: number;
  /** `[length, hidden]`, the caller's to dispose. */
  forward(context: ForwardContext): tf.Tensor2D;
}

/** Rows of embedded tokens. `starts` as a decoder takes them; here they can only stand for padding on the left. */
interface Rows {
  readonly batch: number;
  readonly length: number;
  readonly starts: tf.Tensor1D | undefined;
}

/** Rows with the prefix in them. */
export type PrefixedRows = {
  /** `[batch · (length + prefix), hidden]` */
  readonly x: tf.Tensor2D;
  /** int32 `[batch · length]`: where the given tokens are now. */
  readonly kept: tf.Tensor1D;
  readonly starts?: tf.Tensor1D;
};

/**
 * Puts `vectors` `[n, hidden]` into each row, between its padding on the left and its first token, so that a row is
 * what it would be without padding. Differentiable in both. Call it inside a tidy.
 * @param x `[batch · length, hidden]`
 */
export function placePrefix(x: tf.Tensor2D, vectors: tf.Tensor2D, { batch, length, starts }: Rows): PrefixedRows {
  const n = vectors.shape[0];
  const total = length + n;
  // Positions are looked up rather than cut and joined: an index of −1 gives zeros. The arithmetic is in floats, exact
  // up to 2²⁴.
  const pad =
    starts === undefined
      ? tf.zeros([batch, 1])
      : tf.cast(tf.slice(tf.reshape(starts, [batch, length]), [0, length - 1], [batch, 1]), 'float32');
  const rows = tf.reshape(tf.range(0, batch), [batch, 1]);
  const at = tf.reshape(tf.range(0, total), [1, total]);
  const token = tf.add(tf.mul(rows, length), at);
  const [padding, virtual] = [flag(tf.less(at, pad)), flag(tf.less(at, tf.add(pad, n)))];
  // Of a flag f and values u, v: f·u + (1 − f)·v.
  const vectorIndex = choose(tf.sub(virtual, padding), tf.sub(at, pad), tf.scalar(-1));
  const tokenIndex = choose(padding, token, choose(virtual, tf.scalar(-1), tf.sub(token, n)));
  const kept = tf.reshape(tf.range(0, length), [1, length]);
  const keptIndex = tf.add(
    tf.add(tf.mul(rows, total), kept),
    choose(flag(tf.less(kept, pad)), tf.scalar(0), tf.scalar(n)),
  );
  return {
    x: tf.add(embedding(vectors, flat(vectorIndex)), embedding(x, flat(tokenIndex))),
    kept: flat(keptIndex),
    ...(starts === undefined ? {} : { starts: flat(tf.minimum(at, pad)) }),
  };
}

function flag(condition: tf.Tensor): tf.Tensor {
  return tf.cast(condition, 'float32');
}

function choose(condition: tf.Tensor, yes: tf.Tensor, no: tf.Tensor): tf.Tensor {
  return tf.add(tf.mul(condition, yes), tf.mul(tf.sub(1, condition), no));
}

function flat(index: tf.Tensor): tf.Tensor1D {
  return tf.cast(tf.reshape(index, [-1]), 'int32') as tf.Tensor1D;
}
