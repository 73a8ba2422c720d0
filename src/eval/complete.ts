import type { Decoder } from '../model/decoder.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { generate, type GenerateOptions } from './generate.js';
import { encodePrompt, stopTokensOf, type Prompt } from './prompt.js';
import { decodeContinuation } from './stream.js';

export interface CompleteOptions extends Omit<GenerateOptions, 'onToken' | 'streams'> {
  /** Prompts that are continued together. Default 16. */
  readonly batchSize?: number;
  /** The text is cut before the first of these. */
  readonly stopStrings?: readonly string[];
  /** Called behind each batch. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Continues each prompt and returns the new texts, trimmed, in the order of the prompts. Prompts of similar length
 * share a batch; each draws from a random stream of its own, whatever batch it falls into.
 */
export async function completePrompts(
  decoder: Decoder,
  tokenizer: Tokenizer,
  prompts: readonly (string | Prompt)[],
  options: CompleteOptions = {},
): Promise<string[]> {
  const { batchSize = 16, stopStrings = [], onProgress, ...generation } = options;
  const encoded = prompts.map((prompt, index) => ({
    index,
    ids: encodePrompt(typeof prompt === 'string' ? { text: prompt } : prompt, tokenizer),
  }));
  encoded.sort((a, b) => b.ids.length - a.ids.length || a.index - b.index);
  const texts = new Array<string>(prompts.length);
  for (let i = 0; i < encoded.length; i += batchSize) {
    const batch = encoded.slice(i, i + batchSize);
    const settings = {
      stopTokens: stopTokensOf(decoder.config.eosTokenIds, tokenizer),
      ...generation,
      streams: batch.map(({ index }) => index),
    };
    const results = await generate(
      decoder,
      batch.map(({ ids }) => ids),
      settings,
    );
    results.forEach(({ tokens }, row) => {
      const { index, ids } = batch[row] as (typeof encoded)[number];
      texts[index] = cut(decodeContinuation(tokenizer, ids, tokens), stopStrings).trim();
    });
    onProgress?.(i + batch.length, encoded.length);
  }
  return texts;
}

function cut(text: string, stopStrings: readonly string[]): string {
  const ends = stopStrings.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
  return ends.length === 0 ? text : text.slice(0, Math.min(...ends));
}
