import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { generate } from '../../src/eval/generate.js';
import { localDirectory } from '../../src/io/node.js';
import { loadModel } from '../../src/model/load.js';
import { describeBackends } from '../support/backends.js';

interface Reference {
  readonly prompts: number[][];
  readonly models: Record<string, { tokens: number[][]; logits: number[] }>;
}

const { prompts, models } = JSON.parse(readFileSync('test/golden/generate/tokens.json', 'utf8')) as Reference;

/** Made by scripts/golden/greedy_tokens.py. */
describeBackends('small random models, against transformers', ['wasm', 'webgpu'], () => {
  it.each(Object.entries(models))(
    '%s continues greedily alone and in a padded batch, and leaves nothing behind',
    async (name, { tokens, logits }) => {
      const decoder = await loadModel(localDirectory(`test/golden/generate/${name}`));
      const options = { maxNewTokens: tokens[0]?.length as number, stopTokens: [] };
      const batch = await generate(decoder, prompts, options);
      expect(batch.map((row) => row.tokens)).toEqual(tokens);
      for (const [i, prompt] of prompts.entries())
        expect((await generate(decoder, [prompt], options))[0]?.tokens).toEqual(tokens[i]);
      const prompt = prompts[2] as number[];
      const all = tf.tidy(() =>
        decoder.logits(decoder.hidden({ ids: tf.tensor1d(prompt, 'int32'), batch: 1, length: prompt.length })),
      );
      const found = (await all.data()).slice(-logits.length);
      all.dispose();
      logits.forEach((logit, i) => expect(Math.abs((found[i] as number) - logit), `logit ${i}`).toBeLessThan(1e-4));
      const kept = tf.memory().numTensors;
      await generate(decoder, prompts, options);
      expect(tf.memory().numTensors).toBe(kept);
      decoder.dispose();
    },
  );
});
