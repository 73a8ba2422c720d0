import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { generate } from '../../src/eval/generate.js';
import { localDirectory } from '../../src/io/node.js';
import { loadModel } from '../../src/model/load.js';
import { describeBackends } from '../support/backends.js';
import { describeReferences, referencePath } from '../support/references.js';

interface Reference {
  readonly ids: number[];
  readonly mean_nll: number;
  readonly greedy_prompt_ids: number[];
  readonly greedy_ids: number[];
}

const MODELS = ['tinystories-656k', 'stories260K', 'babyllama-tok105'];

describeReferences('against PyTorch', ['models', 'reference/stories-forward'], () =>
  describeBackends('real models', ['wasm', 'webgpu'], (backend) => {
    const reference = JSON.parse(
      readFileSync(referencePath('reference/stories-forward/reference.json'), 'utf8'),
    ) as Record<string, Reference>;

    it.each(MODELS)(
      '%s continues greedily as PyTorch does, alone and in a padded batch, and leaves nothing behind',
      async (name) => {
        const { greedy_prompt_ids: prompt, greedy_ids: expected } = reference[name] as Reference;
        const decoder = await loadModel(localDirectory(referencePath(`models/${name}`)));
        const length = Math.min(expected.length - prompt.length, backend === 'webgpu' ? 12 : 60);
        const options = { maxNewTokens: length, stopTokens: [] };
        const [alone] = await generate(decoder, [prompt], options);
        expect(alone?.tokens).toEqual(expected.slice(prompt.length, prompt.length + length));
        const before = tf.memory().numTensors;
        const longer = expected.slice(0, prompt.length + 3);
        const [first, second] = await generate(decoder, [prompt, longer], { ...options, maxNewTokens: 8 });
        expect(first?.tokens).toEqual(expected.slice(prompt.length, prompt.length + 8));
        expect(second?.tokens).toEqual(expected.slice(longer.length, longer.length + 8));
        expect(tf.memory().numTensors).toBe(before);
        decoder.dispose();
      },
    );

    it.each(MODELS)('%s has PyTorch’s logits within 1e-4', async (name) => {
      const { ids } = reference[name] as Reference;
      const bytes = readFileSync(referencePath(`reference/stories-forward/${name}.logits.f32`));
      const expected = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
      const decoder = await loadModel(localDirectory(referencePath(`models/${name}`)));
      const rows = expected.length / decoder.config.vocabSize;
      const logits = tf.tidy(() =>
        decoder.logits(decoder.hidden({ ids: tf.tensor1d(ids.slice(0, rows), 'int32'), batch: 1, length: rows })),
      );
      const actual = await logits.data();
      let worst = 0;
      expected.forEach((value, i) => (worst = Math.max(worst, Math.abs((actual[i] as number) - value))));
      expect(worst).toBeLessThanOrEqual(1e-4);
      logits.dispose();
      decoder.dispose();
    });
  }),
);
