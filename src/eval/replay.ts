import * as tf from '@tensorflow/tfjs-core';
import type { Decoder } from '../model/decoder.js';
import { generate } from './generate.js';

/** A greedy continuation, kept so that it can be asked for again elsewhere. */
export interface Replay {
  readonly prompt: number[];
  /** New tokens; the token that ended the text is not among them. */
  readonly tokens: number[];
  /** For each new token, how far its logit lay above the second highest. */
  readonly margins: number[];
}

/** What became of a replay. */
export interface ReplayOutcome {
  readonly tokens: readonly number[];
  /** New tokens that are the same, from the first on. */
  readonly equal: number;
  /**
   * `near tie`: the first difference lies where two tokens were all but equally likely, as rounding alone can turn it.
   */
  readonly verdict: 'equal' | 'near tie' | 'different';
}

/** Logits this close may change places between devices: the tolerance that logits are held to. */
const TIE = 1e-3;

/** Continues prompts greedily, one after the other. */
export async function recordReplays(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  maxNewTokens: number,
): Promise<Replay[]> {
  const replays: Replay[] = [];
  for (const prompt of prompts) {
    const [result] = await generate(decoder, [prompt], { maxNewTokens });
    const tokens = result?.tokens ?? [];
    replays.push({ prompt: [...prompt], tokens, margins: await marginsOf(decoder, prompt, tokens) });
  }
  return replays;
}

export async function compareReplay(decoder: Decoder, replay: Replay): Promise<ReplayOutcome> {
  const [result] = await generate(decoder, [replay.prompt], { maxNewTokens: Math.max(1, replay.tokens.length) });
  const tokens = result?.tokens ?? [];
  const differs = replay.tokens.findIndex((token, i) => tokens[i] !== token);
  if (differs < 0) return { tokens, equal: replay.tokens.length, verdict: 'equal' };
  return { tokens, equal: differs, verdict: (replay.margins[differs] as number) < TIE ? 'near tie' : 'different' };
}

/** One pass over prompt and continuation: what `generate` saw when it chose each token. */
async function marginsOf(decoder: Decoder, prompt: readonly number[], tokens: readonly number[]): Promise<number[]> {
  if (tokens.length === 0) return [];
  const ids = [...prompt, ...tokens].slice(0, -1);
  const top = tf.tidy(() => {
    const hidden = decoder.hidden({ ids: tf.tensor1d(Int32Array.from(ids), 'int32'), batch: 1, length: ids.length });
    return tf.topk(decoder.logits(tf.slice(hidden, [prompt.length - 1, 0], [tokens.length, hidden.shape[1]])), 2)
      .values;
  });
  const values = await top.data();
  top.dispose();
  return tokens.map((_, i) => Number(((values[2 * i] as number) - (values[2 * i + 1] as number)).toPrecision(4)));
}
