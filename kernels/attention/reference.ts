import * as tf from '@tensorflow/tfjs-core';
import type { AttentionShape } from './shape.js';

/**
 * What the reference takes besides q, k, v; absent tables mean no rotation, absent starts mean one segment from index
 * 0.
 */
export interface AttentionTables {
  readonly cos: tf.Tensor2D | undefined;
  readonly sin: tf.Tensor2D | undefined;
  readonly starts: tf.Tensor1D | undefined;
}

interface Placement {
  /** `[batch, 1, groups·queryLength, keyLength]` bool: broadcast by `where`. */
  readonly visible: tf.Tensor4D;
  /** Cosines and sines of each key's angle, `[batch, 1, keyLength, rotaryDim / 2]`. */
  readonly cos: tf.Tensor4D | undefined;
  readonly sin: tf.Tensor4D | undefined;
}

/** [o, lse] of attention in stock ops; shapes as `attention` states them. */
export function attentionReference(
  q: tf.Tensor2D,
  k: tf.Tensor2D,
  v: tf.Tensor2D,
  tables: AttentionTables,
  shape: AttentionShape,
): [tf.Tensor2D, tf.Tensor1D] {
  const place = placement(tables, shape);
  const { queries, keys } = rotated(q, k, place, shape);
  const scores = tf.where(place.visible, tf.mul(tf.matMul(queries, keys, false, true), shape.scale), -Infinity);
  // A row that sees no key has sum 0: its output is 0, and so is its log-sum-exp. One whose scores are all −∞ has no
  // softmax: NaN.
  const seen = tf.any(place.visible, 3, true);
  const peak = tf.where(seen, tf.max(scores, 3, true), 0);
  const weights = tf.where(place.visible, tf.exp(tf.sub(scores, peak)), 0);
  const sum = tf.sum(weights, 3, true);
  const safe = tf.where(seen, sum, 1);
  const o = tf.div(tf.matMul(weights, splitHeads(v, shape.keyLength, shape.numKvHeads, shape)), safe) as tf.Tensor4D;
  const lse = tf.where(seen, tf.add(peak, tf.log(safe)), 0);
  return [joinGroups(o, shape), tf.reshape(lse, [-1])];
}

/** [dq, dk, dv] of attention in stock ops. */
export function attentionGradReference(
  dy: tf.Tensor2D,
  q: tf.Tensor2D,
  k: tf.Tensor2D,
  v: tf.Tensor2D,
  o: tf.Tensor2D,
  lse: tf.Tensor1D,
  tables: AttentionTables,
  shape: AttentionShape,
): [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D] {
  const { batch, queryLength, keyLength, numHeads, numKvHeads, scale } = shape;
  const rows = (numHeads / numKvHeads) * queryLength;
  const place = placement(tables, shape);
  const { queries, keys } = rotated(q, k, place, shape);
  const values = splitHeads(v, keyLength, numKvHeads, shape);
  const dOut = splitGroups(dy, shape);
  const scores = tf.mul(tf.matMul(queries, keys, false, true), scale);
  const weights = tf.where(place.visible, tf.exp(tf.sub(scores, tf.reshape(lse, [batch, numKvHeads, rows, 1]))), 0);
  const dot = tf.sum(tf.mul(dOut, splitGroups(o, shape)), 3, true);
  const dScores = tf.mul(tf.mul(weights, tf.sub(tf.matMul(dOut, values, false, true), dot)), scale);
  const turnBack = (x: tf.Tensor4D, from: number, length: number): tf.Tensor4D =>
    rotate(x, place, shape, from, length, true);
  const dQueries = joinGroups(
    turnBack(tf.matMul(dScores, keys) as tf.Tensor4D, keyLength - queryLength, queryLength),
    shape,
  );
  const dKeys = joinHeads(turnBack(tf.matMul(dScores, queries, true, false) as tf.Tensor4D, 0, keyLength), keyLength);
  return [dQueries, dKeys, joinHeads(tf.matMul(weights, dOut, true, false) as tf.Tensor4D, keyLength)];
}

function rotated(
  q: tf.Tensor2D,
  k: tf.Tensor2D,
  place: Placement,
  shape: AttentionShape,
): { queries: tf.Tensor4D; keys: tf.Tensor4D } {
  const { queryLength, keyLength, numKvHeads } = shape;
  return {
    queries: rotate(splitGroups(q, shape), place, shape, keyLength - queryLength, queryLength, false),
    // x + 0·x: an infinite key is NaN, as −∞ would only take its weight away.
    keys: rotate(splitHeads(tf.add(k, tf.mul(k, 0)), keyLength, numKvHeads, shape), place, shape, 0, keyLength, false),
  };
}

/** `[batch·length, heads·headDim]` to `[batch, heads, length, headDim]`. */
function splitHeads(x: tf.Tensor2D, length: number, heads: number, shape: AttentionShape): tf.Tensor4D {
  return tf.transpose(tf.reshape(x, [shape.batch, length, heads, shape.headDim]), [0, 2, 1, 3]);
}

function joinHeads(x: tf.Tensor4D, length: number): tf.Tensor2D {
  return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [(x.shape[0] as number) * length, -1]);
}

/** Queries of the heads that share keys stand one after another: `[batch, numKvHeads, groups·queryLength, headDim]`. */
function splitGroups(x: tf.Tensor2D, shape: AttentionShape): tf.Tensor4D {
  const { batch, queryLength, numHeads, numKvHeads, headDim } = shape;
  return tf.reshape(splitHeads(x, queryLength, numHeads, shape), [
    batch,
    numKvHeads,
    (numHeads / numKvHeads) * queryLength,
    headDim,
  ]);
}

function joinGroups(x: tf.Tensor4D, shape: AttentionShape): tf.Tensor2D {
  const { batch, queryLength, numHeads, headDim } = shape;
  return joinHeads(tf.reshape(x, [batch, numHeads, queryLength, headDim]), queryLength);
}

function placement(tables: AttentionTables, shape: AttentionShape): Placement {
  const { batch, queryLength, keyLength, numHeads, numKvHeads, window, rotaryDim } = shape;
  const index = tf.range(0, keyLength, 1, 'int32');
  const starts =
    tables.starts === undefined ? tf.zeros([batch, keyLength], 'int32') : tf.reshape(tables.starts, [batch, keyLength]);
  const first = keyLength - queryLength;
  const p = tf.reshape(tf.slice(index, first, queryLength), [1, 1, queryLength, 1]);
  const start = tf.reshape(tf.slice(starts, [0, first], [batch, queryLength]), [batch, 1, queryLength, 1]);
  const j = tf.reshape(index, [1, 1, 1, keyLength]);
  const inSegment = tf.logicalAnd(tf.greaterEqual(j, start), tf.lessEqual(j, p));
  const inWindow = tf.less(tf.sub(p, j), tf.scalar(window, 'int32'));
  const visible = tf.tile(tf.logicalAnd(inSegment, inWindow), [1, 1, numHeads / numKvHeads, 1]) as tf.Tensor4D;
  const { cos, sin } = tables;
  if (cos === undefined || sin === undefined) return { visible, cos: undefined, sin: undefined };
  const highest = tf.scalar(cos.shape[0] - 1, 'int32');
  const position = tf.minimum(tf.maximum(tf.sub(index, starts), tf.scalar(0, 'int32')), highest);
  const rows = (table: tf.Tensor2D): tf.Tensor4D =>
    tf.reshape(tf.gather(table, tf.reshape(tf.cast(position, 'int32'), [-1])), [batch, 1, keyLength, rotaryDim / 2]);
  return { visible, cos: rows(cos), sin: rows(sin) };
}

/**
 * Turns the first rotaryDim dimensions of each vector by its angle (`back`: by the opposite angle). `from` is the index
 * of x's first token.
 */
function rotate(
  x: tf.Tensor4D,
  place: Placement,
  shape: AttentionShape,
  from: number,
  length: number,
  back: boolean,
): tf.Tensor4D {
  if (place.cos === undefined || place.sin === undefined) return x;
  const half = shape.rotaryDim / 2;
  const [batch, heads, rows, dim] = x.shape;
  const rowsOf = (table: tf.Tensor4D): tf.Tensor4D => {
    const part = tf.slice(table, [0, 0, from, 0], [batch, 1, length, half]);
    return rows === length ? part : tf.tile(part, [1, 1, rows / length, 1]);
  };
  const cos = rowsOf(place.cos);
  const sin = back ? tf.neg(rowsOf(place.sin)) : rowsOf(place.sin);
  const low = tf.slice(x, [0, 0, 0, 0], [batch, heads, rows, half]);
  const high = tf.slice(x, [0, 0, 0, half], [batch, heads, rows, half]);
  const parts = [tf.sub(tf.mul(low, cos), tf.mul(high, sin)), tf.add(tf.mul(high, cos), tf.mul(low, sin))];
  if (dim > 2 * half) parts.push(tf.slice(x, [0, 0, 0, 2 * half], [batch, heads, rows, dim - 2 * half]));
  return tf.concat(parts, 3) as tf.Tensor4D;
}
