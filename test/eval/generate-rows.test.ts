import { afterAll, beforeAll, expect, it } from 'vitest';
import { completePrompts } from '../../src/eval/complete.js';
import { generate } from '../../src/eval/generate.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { localDirectory } from '../../src/io/node.js';
import type { Decoder } from '../../src/model/decoder.js';
import { loadModel } from '../../src/model/load.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { describeBackends } from '../support/backends.js';
import { FAMILY_CONFIGS } from '../support/family-models.js';
import { modelFiles } from '../support/tiny-model.js';

const CONTEXT = 12;
const LONG = [3, 7, 11, 5, 9, 13, 17, 21, 25];
const SHORT = [4, 8];

// Rotated positions, learned ones, and a window.
describeBackends('rows of a batch', ['wasm', 'webgpu'], () => {
  it.each(FAMILY_CONFIGS.filter(([name]) => ['llama', 'mistral', 'gpt2'].includes(name)))(
    'of %s end at their own limit',
    async (name, config) => {
      const decoder = await loadModel(
        memoryDirectory(
          name,
          modelFiles({
            ...config,
            ...('n_positions' in config ? { n_positions: CONTEXT } : { max_position_embeddings: CONTEXT }),
          }),
        ),
      );
      const options = { maxNewTokens: 100, stopTokens: [] };
      const together = await generate(decoder, [LONG, SHORT], options);
      expect(together.map(({ tokens }) => tokens.length)).toEqual([CONTEXT - LONG.length, CONTEXT - SHORT.length]);
      expect(together).toEqual([
        ...(await generate(decoder, [LONG], options)),
        ...(await generate(decoder, [SHORT], options)),
      ]);
      const capped = await generate(decoder, [LONG, SHORT], { ...options, maxNewTokens: 5 });
      expect(capped.map(({ tokens }) => tokens.length)).toEqual([3, 5]);
      await expect(generate(decoder, [SHORT, [...LONG, ...LONG]], options)).rejects.toThrow(
        `prompt 2 has 18 tokens; the model's context is ${CONTEXT}`,
      );
      decoder.dispose();
    },
  );
});

describeBackends('random streams', ['wasm'], () => {
  const folder = localDirectory('configs/quickstart/base');
  let decoder: Decoder;
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    decoder = await loadModel(folder);
    tokenizer = (await loadTokenizer(folder)) as Tokenizer;
  });
  afterAll(() => {
    decoder.dispose();
  });

  it('belong to a prompt, whatever batch it falls into', async () => {
    const prompts = ['The', 'A small', 'The', 'The'];
    const options = { temperature: 1, seed: 3, maxNewTokens: 8, stopTokens: [] };
    const alone = await completePrompts(decoder, tokenizer, prompts, { ...options, batchSize: 1 });
    expect(await completePrompts(decoder, tokenizer, prompts, { ...options, batchSize: 4 })).toEqual(alone);
    // The same prompt asked three times is answered in three ways.
    expect(new Set([alone[0], alone[2], alone[3]]).size).toBe(3);
  });

  it('can be named', async () => {
    const options = { temperature: 1, maxNewTokens: 6, stopTokens: [] };
    const prompt = tokenizer.encode('The');
    const [, second] = await generate(decoder, [prompt, prompt], options);
    expect(await generate(decoder, [prompt], { ...options, streams: [1] })).toEqual([second]);
  });
});
