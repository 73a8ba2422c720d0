import * as tf from '@tensorflow/tfjs-core';
import { headChunkRows } from '../../kernels/index.js';
import type { Decoder } from '../model/decoder.js';
import { requireFinite } from '../model/finite.js';
import { argmax } from './sample.js';

/** How far the next-token distributions of two states of a model are apart. */
export interface Divergence {
  /** Mean over all positions of KL(before ‖ after) = Σ p·(ln p − ln q), in nats. */
  readonly meanKl: number;
  readonly maxKl: number;
  /** Share of the positions at which the likeliest token is another one. */
  readonly changedTop: number;
  readonly positions: number;
}

/** What a change leaves: another decoder of the same vocabulary, or the one that there was. */
type Changed = Decoder | undefined | void;

/**
 * Compares a model with itself before and after a change, on given rows of token ids. The distributions of before are
 * kept on the host: 4 · vocabulary bytes a position.
 */
export async function divergence(
  decoder: Decoder,
  rows: readonly (readonly number[])[],
  change: () => Changed | Promise<Changed>,
): Promise<Divergence> {
  const before: Float32Array[] = [];
  for (const row of rows) for await (const chunk of logProbabilities(decoder, row)) before.push(chunk);
  const changed = (await change()) ?? decoder;
  let [index, sum, maxKl, tops, positions] = [0, 0, 0, 0, 0];
  const vocab = decoder.vocabSize;
  for (const row of rows) {
    for await (const after of logProbabilities(changed, row)) {
      const reference = before[index++] as Float32Array;
      for (let at = 0; at < after.length; at += vocab) {
        const p = reference.subarray(at, at + vocab);
        const q = after.subarray(at, at + vocab);
        const kl = klOf(p, q);
        requireFinite(kl, 'the divergence of two states of the model');
        sum += kl;
        maxKl = Math.max(maxKl, kl);
        if (argmax(p) !== argmax(q)) tops++;
        positions++;
      }
    }
  }
  return { meanKl: sum / Math.max(1, positions), maxKl, changedTop: tops / Math.max(1, positions), positions };
}

/** ln softmax of the logits at every position of a row, some positions at a time: `[positions · vocab]`. */
async function* logProbabilities(decoder: Decoder, row: readonly number[]): AsyncGenerator<Float32Array> {
  const hidden = tf.tidy(() =>
    decoder.hidden({ ids: tf.tensor1d(Int32Array.from(row), 'int32'), batch: 1, length: row.length }),
  );
  try {
    const [count, width] = hidden.shape;
    const size = headChunkRows(decoder.vocabSize);
    for (let begin = 0; begin < count; begin += size) {
      const chunk = tf.tidy(() =>
        tf.logSoftmax(decoder.logits(tf.slice(hidden, [begin, 0], [Math.min(size, count - begin), width]))),
      );
      const values = await chunk.data<'float32'>();
      chunk.dispose();
      yield values.slice();
    }
  } finally {
    hidden.dispose();
  }
}

function klOf(p: Float32Array, q: Float32Array): number {
  let kl = 0;
  for (let i = 0; i < p.length; i++) kl += Math.exp(p[i] as number) * ((p[i] as number) - (q[i] as number));
  // Rounding may leave a trace below zero.
  return Math.max(0, kl);
}
