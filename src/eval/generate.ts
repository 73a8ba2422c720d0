import * as tf from '@tensorflow/tfjs-core';
import { DataError } from '../errors.js';
import { KvCache } from '../model/cache.js';
import type { Decoder } from '../model/decoder.js';
import { requireFiniteLogits } from '../model/finite.js';
import { Random } from '../random.js';
import { sampleToken, type SamplingOptions } from './sample.js';

/** When generation ends, how tokens are drawn, and who hears of them. */
export interface GenerateOptions extends Partial<SamplingOptions> {
  readonly maxNewTokens?: number;
  readonly seed?: number;
  /** Ids that end a row; they are not part of the result. Default: config.json's eos_token_id. */
  readonly stopTokens?: readonly number[];
  /** Which random stream each row draws from, a number each. Default: its place among the prompts. */
  readonly streams?: readonly number[];
  /** Called with each new token of each row, in order of the rows. */
  readonly onToken?: (row: number, token: number) => void;
}

/** Why a row ended. */
export type StopReason = 'stop' | 'length';

/** The continuation of one prompt. */
export interface Generated {
  /** New tokens, without the prompt and the stop token. */
  readonly tokens: number[];
  readonly reason: StopReason;
}

/**
 * Continues prompts, all rows together, with a KV cache. Rows of different length are padded on the left, which no
 * token sees, and each row draws from its own random stream and ends at its own limit, the end of the context: what it
 * becomes does not depend on its neighbours.
 * @throws DataError for an empty prompt, an id out of the vocabulary, or a prompt with no room left in the model's
 * context; DeviceError for logits that are not finite.
 */
export async function generate(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions = {},
): Promise<Generated[]> {
  const { maxNewTokens = 128, seed = 0, streams, onToken } = options;
  const sampling = { temperature: options.temperature ?? 0, topK: options.topK ?? 0, topP: options.topP ?? 1 };
  const stop = new Set(options.stopTokens ?? decoder.config.eosTokenIds);
  checkPrompts(decoder, prompts);
  const limits = prompts.map((prompt) => Math.min(maxNewTokens, decoder.maxLength - prompt.length));
  const results = limits.map((limit) => ({ tokens: [] as number[], reason: 'length' as StopReason, done: limit <= 0 }));
  const randoms = prompts.map((_, row) => new Random(seed, `generate/${streams?.[row] ?? row}`));
  const longest = Math.max(...prompts.map((p) => p.length));
  const pads = prompts.map((p) => longest - p.length);
  const batch = prompts.length;
  const cache = new KvCache(batch);
  let ids = Int32Array.from(prompts.flatMap((p, row) => [...new Array<number>(pads[row] as number).fill(0), ...p]));
  try {
    // A row that is done goes on as a token of no meaning; past the end of the context, where it is padding.
    while (results.some((r) => !r.done)) {
      const length = ids.length / batch;
      const logits = await nextLogits(decoder, ids, batch, length, pads, cache);
      const vocab = decoder.vocabSize;
      ids = Int32Array.from(results, (result, row) => {
        if (result.done) return 0;
        const scores = logits.subarray(row * vocab, (row + 1) * vocab);
        requireFiniteLogits(scores, vocab);
        const token = sampleToken(scores, sampling, randoms[row] as Random);
        if (stop.has(token)) {
          result.done = true;
          result.reason = 'stop';
        } else {
          result.tokens.push(token);
          result.done = result.tokens.length >= (limits[row] as number);
          onToken?.(row, token);
        }
        return token;
      });
    }
  } finally {
    cache.dispose();
  }
  return results.map(({ tokens, reason }) => ({ tokens, reason }));
}

/** Logits after the last token of each row, `[batch · vocab]`. */
async function nextLogits(
  decoder: Decoder,
  ids: Int32Array,
  batch: number,
  length: number,
  pads: readonly number[],
  cache: KvCache,
): Promise<Float32Array> {
  const keyLength = cache.length + length;
  const logits = tf.tidy(() => {
    const padded = pads.some((p) => p > 0);
    const starts = padded
      ? tf.tensor1d(
          Int32Array.from({ length: batch * keyLength }, (_, i) =>
            startOf(pads, i, keyLength, decoder.config.maxPositions),
          ),
          'int32',
        )
      : undefined;
    const hidden = decoder.hidden({
      ids: tf.tensor1d(ids, 'int32'),
      batch,
      length,
      cache,
      ...(starts === undefined ? {} : { starts }),
    });
    const width = hidden.shape[1];
    const last = tf.slice(tf.reshape(hidden, [batch, length, width]), [0, length - 1, 0], [batch, 1, width]);
    return decoder.logits(tf.reshape(last, [batch, width]) as tf.Tensor2D);
  });
  const values = await logits.data<'float32'>();
  logits.dispose();
  return values;
}

/**
 * Tokens of the padding and those behind the end of the context are segments of their own, so none of them ever sees
 * nothing.
 */
function startOf(pads: readonly number[], index: number, keyLength: number, context: number): number {
  const pad = pads[Math.floor(index / keyLength)] as number;
  const position = index % keyLength;
  return position < pad || position - pad >= context ? position : pad;
}

function checkPrompts(decoder: Decoder, prompts: readonly (readonly number[])[]): void {
  const { maxLength, vocabSize } = decoder;
  prompts.forEach((prompt, row) => {
    const where = prompts.length === 1 ? 'the prompt' : `prompt ${row + 1}`;
    if (prompt.length === 0) throw new DataError(`${where} is empty`);
    const wrong = prompt.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (wrong !== undefined) throw new DataError(`${where} holds token ${wrong}; the model has ${vocabSize}`);
    if (prompt.length >= maxLength)
      throw new DataError(`${where} has ${prompt.length} tokens; the model's context is ${maxLength}`);
  });
}
