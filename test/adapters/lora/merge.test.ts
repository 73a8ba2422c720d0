import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import type { LoraOptions } from '../../../src/adapters/lora/options.js';
import { readPeftAdapter } from '../../../src/adapters/peft/document.js';
import { adapterFiles, loadAdapter } from '../../../src/adapters/peft/files.js';
import { METHODS } from '../../../src/adapters/registry.js';
import { fusionOf } from '../../../src/export/weight-merge.js';
import { mergedFiles } from '../../../src/export/merge.js';
import { openCheckpoint } from '../../../src/io/weights-file.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import type { Decoder } from '../../../src/model/decoder.js';
import { loadModel } from '../../../src/model/load.js';
import { Random } from '../../../src/random.js';
import { describeBackends } from '../../support/backends.js';
import { expectClose, normals } from '../../support/numeric.js';
import { asDirectory } from '../../support/outputs.js';
import { modelFiles, TINY_CONFIG } from '../../support/tiny-model.js';

const PLAIN: LoraOptions = {
  r: 3,
  lora_alpha: 5,
  lora_dropout: 0,
  target_modules: ['q_proj', 'down_proj'],
  use_rslora: false,
  init_lora_weights: true,
};
const IDS = Int32Array.from([1, 5, 9, 31, 2, 7, 5, 30]);

async function logitsOf(decoder: Decoder): Promise<Float32Array> {
  const logits = tf.tidy(() => decoder.logits(decoder.hidden({ ids: tf.tensor1d(IDS, 'int32'), batch: 2, length: 4 })));
  const values = (await logits.data<'float32'>()).slice();
  logits.dispose();
  return values;
}

describeBackends('an adapter', ['wasm'], () => {
  it.each([
    { name: 'DoRA', options: { use_dora: true, rank_pattern: { q_proj: 5 } } },
    {
      name: 'DoRA of embedding and output layer',
      options: { target_modules: ['embed_tokens', 'lm_head'], use_dora: true },
    },
    { name: 'modules_to_save', options: { modules_to_save: ['lm_head', 'norm', 'up_proj'] } },
    { name: 'trained and new tokens, tied', options: { trainable_token_indices: [5, 32, 9, 33] }, tied: true },
    {
      name: 'trained and new tokens',
      options: { trainable_token_indices: { embed_tokens: [9, 32], lm_head: [32, 2, 4] } },
    },
    { name: 'the embedding of a tied model', options: { target_modules: ['q_proj', 'embed_tokens'] }, tied: true },
    {
      name: 'the embedding of a tied model, trained whole',
      options: { modules_to_save: ['embed_tokens'] },
      tied: true,
    },
    {
      name: 'LoftQ',
      options: {
        init_lora_weights: 'loftq' as const,
        loftq_config: { loftq_bits: 4 as const, loftq_iter: 3 },
        use_dora: true,
      },
    },
    {
      name: 'LoftQ of a tied output layer',
      options: { init_lora_weights: 'loftq' as const, target_modules: ['lm_head'] },
      tied: true,
    },
    { name: 'PiSSA', options: { init_lora_weights: 'pissa' as const, use_rslora: true } },
  ])('of $name has the logits of the model that it is merged into', async ({ options, tied = false }) => {
    const base = memoryDirectory('tiny', modelFiles({ ...TINY_CONFIG, tie_word_embeddings: tied }));
    const decoder = await loadModel(base);
    const adapter = METHODS.lora.create(decoder, { ...PLAIN, ...options }, 1);
    await adapter.initialize();
    const random = new Random(2, 'merge');
    for (const { variable } of adapter.parameters)
      tf.tidy(() => variable.assign(tf.add(variable, tf.tensor(normals(random, variable.size, 0.05), variable.shape))));
    const attached = await logitsOf(decoder);
    const files = memoryDirectory('adapter', await adapterFiles(adapter));
    adapter.dispose();
    decoder.dispose();
    const checkpoint = await openCheckpoint(base);
    const merged = await loadModel(
      await asDirectory(await mergedFiles(base, checkpoint, fusionOf(await readPeftAdapter(files)))),
    );
    await checkpoint.close();
    expectClose(await logitsOf(merged), attached, 2e-5);
    merged.dispose();
  });

  it('that PEFT saved as PiSSA, unconverted, has its base taken apart as it was', async () => {
    const decoder = await loadModel(memoryDirectory('tiny', modelFiles(TINY_CONFIG)));
    const adapter = METHODS.lora.create(decoder, { ...PLAIN, init_lora_weights: 'pissa' }, 1);
    await adapter.initialize();
    const random = new Random(2, 'pissa');
    for (const { variable } of adapter.parameters)
      tf.tidy(() => variable.assign(tf.add(variable, tf.tensor(normals(random, variable.size, 0.05), variable.shape))));
    const trained = await logitsOf(decoder);
    const unconverted = {
      ...adapter,
      config: { ...adapter.config, r: 3, loraAlpha: 5, initLoraWeights: 'pissa' },
      parameters: adapter.parameters.map(({ key, variable }) => ({ key, variable })),
    };
    const files = memoryDirectory('peft', await adapterFiles(unconverted as unknown as typeof adapter));
    adapter.dispose();
    const again = await loadAdapter(decoder, files);
    expect(again.config).toMatchObject({ initLoraWeights: 'pissa', r: 3 });
    expectClose(await logitsOf(decoder), trained, 2e-5);
    again.dispose();
    decoder.dispose();
  });
});
