import * as tf from '@tensorflow/tfjs-core';
import { embedding, headChunkRows } from '../../kernels/index.js';
import { collate } from '../data/collate.js';
import type { Decoder } from '../model/decoder.js';
import { requireFinite } from '../model/finite.js';

/** Tokens of which the first `promptLength` are given. */
export interface RatedTokens {
  readonly ids: readonly number[];
  readonly promptLength: number;
}

/** How likely a model finds the tokens after a prompt. */
export interface Likelihood {
  /** Σ ln p of the tokens after the prompt, in nats. */
  readonly logLikelihood: number;
  /** Whether each of them is the likeliest one. */
  readonly greedy: boolean;
  readonly tokens: number;
}

/**
 * Rates rows in batches; rows of similar length share one. Results are in the order of the rows. @throws DeviceError
 * when a probability is not finite
 */
export async function likelihoods(
  decoder: Decoder,
  rows: readonly RatedTokens[],
  batchSize = 16,
): Promise<Likelihood[]> {
  const order = rows
    .map((_, i) => i)
    .sort((a, b) => (rows[b] as RatedTokens).ids.length - (rows[a] as RatedTokens).ids.length || a - b);
  const results = new Array<Likelihood>(rows.length);
  for (let i = 0; i < order.length; i += batchSize) {
    const batch = order.slice(i, i + batchSize);
    const rated = await rateBatch(
      decoder,
      batch.map((row) => rows[row] as RatedTokens),
    );
    batch.forEach((row, k) => (results[row] = rated[k] as Likelihood));
  }
  return results;
}

async function rateBatch(decoder: Decoder, rows: readonly RatedTokens[]): Promise<Likelihood[]> {
  const { inputIds, batch, seq } = collate(
    rows.map(({ ids }, row) => ({ inputIds: Int32Array.from(ids), labels: Int32Array.from(ids), row, source: '' })),
  );
  // Position t of a row predicts token t + 1.
  const places = rows.flatMap(({ ids, promptLength }, row) =>
    ids.slice(promptLength).map((token, k) => ({ row, token, at: row * seq + promptLength + k - 1 })),
  );
  const hidden = tf.tidy(() => decoder.hidden({ ids: tf.tensor1d(inputIds, 'int32'), batch, length: seq }));
  const sums = rows.map(({ ids, promptLength }) => ({
    logLikelihood: 0,
    greedy: true,
    tokens: ids.length - promptLength,
  }));
  try {
    const size = headChunkRows(decoder.vocabSize);
    for (let begin = 0; begin < places.length; begin += size) {
      const chunk = places.slice(begin, begin + size);
      const [chosen, highest] = tf.tidy(() => {
        const logits = decoder.logits(
          embedding(
            hidden,
            tf.tensor1d(
              chunk.map(({ at }) => at),
              'int32',
            ),
          ),
        );
        const columns = tf.tensor1d(
          chunk.map(({ token }) => token),
          'int32',
        );
        const picked = tf.sum(tf.mul(logits, tf.oneHot(columns, logits.shape[1])), 1);
        return [tf.sub(picked, tf.logSumExp(logits, 1)), tf.sub(picked, tf.max(logits, 1))] as [tf.Tensor, tf.Tensor];
      });
      const [logs, gaps] = await Promise.all([chosen.data(), highest.data()]);
      tf.dispose([chosen, highest]);
      chunk.forEach(({ row }, k) => {
        const sum = sums[row] as { logLikelihood: number; greedy: boolean };
        requireFinite(logs[k] as number, 'the log-probability of a token');
        sum.logLikelihood += logs[k] as number;
        if ((gaps[k] as number) < 0) sum.greedy = false;
      });
    }
  } finally {
    hidden.dispose();
  }
  return sums;
}
