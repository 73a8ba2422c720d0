import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import type { Adapter } from '../../../src/adapters/adapter.js';
import { adapterFiles, loadAdapter } from '../../../src/adapters/peft/files.js';
import type { PromptOptions } from '../../../src/adapters/prompt/options.js';
import { parsePromptConfig, serializePromptConfig } from '../../../src/adapters/prompt/config.js';
import { METHODS } from '../../../src/adapters/registry.js';
import { generate } from '../../../src/eval/generate.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import { KvCache } from '../../../src/model/cache.js';
import type { Decoder } from '../../../src/model/decoder.js';
import { loadModel } from '../../../src/model/load.js';
import { batchLossSum } from '../../../src/model/loss.js';
import { lossAndGradients } from '../../../src/train/step.js';
import { describeBackends } from '../../support/backends.js';
import { expectClose, expectNoLeak } from '../../support/numeric.js';
import { itReferences, referencePath } from '../../support/references.js';
import { modelFiles, TINY_CONFIG } from '../../support/tiny-model.js';

const GPT2 = {
  model_type: 'gpt2',
  vocab_size: 32,
  n_embd: 32,
  n_layer: 2,
  n_head: 4,
  n_positions: 64,
  bos_token_id: 1,
  eos_token_id: 2,
};
const OPTIONS: PromptOptions = { num_virtual_tokens: 5, prompt_tuning_init: 'RANDOM' };
const ROW = [3, 1, 4, 1, 5, 9, 2, 6];

async function withPrompt(
  options: Partial<PromptOptions>,
  body: (decoder: Decoder, adapter: Adapter) => Promise<void>,
  config: Readonly<Record<string, unknown>> = TINY_CONFIG,
): Promise<void> {
  await expectNoLeak(async () => {
    const decoder = await loadModel(memoryDirectory('tiny', modelFiles(config)));
    const adapter: Adapter = METHODS.prompt_tuning.create(decoder, { ...OPTIONS, ...options }, 1);
    try {
      await adapter.initialize?.((text) => Promise.resolve([...text].map(Number)));
      await body(decoder, adapter);
    } finally {
      adapter.dispose();
      decoder.dispose();
    }
  });
}

async function hiddenOf(
  decoder: Decoder,
  rows: readonly number[][],
  pads: readonly number[] = rows.map(() => 0),
): Promise<Float32Array[]> {
  const length = (rows[0] as number[]).length;
  const hidden = tf.tidy(() =>
    decoder.hidden({
      ids: tf.tensor1d(rows.flat(), 'int32'),
      batch: rows.length,
      length,
      ...(pads.some((pad) => pad > 0)
        ? {
            starts: tf.tensor1d(
              rows.flatMap((row, b) => row.map((_, i) => Math.min(i, pads[b] as number))),
              'int32',
            ),
          }
        : {}),
    }),
  );
  const values = await hidden.data<'float32'>();
  const size = values.length / rows.length;
  hidden.dispose();
  return rows.map((_, b) => values.slice(b * size, (b + 1) * size));
}

const vectorsOf = async (adapter: Adapter): Promise<Float32Array> =>
  (await (adapter.parameters[0] as Adapter['parameters'][number]).variable.data<'float32'>()).slice();

describe('the config of a trained prompt', () => {
  it('takes a minimal file, and says what PEFT needs to read it back', () => {
    const config = parsePromptConfig({ peft_type: 'PROMPT_TUNING', num_virtual_tokens: 4 });
    expect(config).toMatchObject({ numVirtualTokens: 4, init: 'RANDOM', tokenizer: undefined });
    // PEFT refuses TEXT without a tokenizer.
    const text = JSON.parse(
      serializePromptConfig({ ...config, init: 'TEXT', initText: 'Answer:', baseModel: 'org/base' }),
    ) as object;
    expect(text).toMatchObject({
      prompt_tuning_init: 'TEXT',
      prompt_tuning_init_text: 'Answer:',
      tokenizer_name_or_path: 'org/base',
    });
    expect(() =>
      parsePromptConfig({ peft_type: 'PROMPT_TUNING', num_virtual_tokens: 0, num_transformer_submodules: 2 }, 'a.json'),
    ).toThrow(/a\.json: num_virtual_tokens: .*; num_transformer_submodules: /);
  });

  itReferences('is PEFT’s own to the byte', 'reference/transformers-peft', () => {
    const text = readFileSync(
      referencePath('reference/transformers-peft/llama/golden/prompt_tuning/adapter/adapter_config.json'),
      'utf8',
    );
    expect(serializePromptConfig(parsePromptConfig(JSON.parse(text)))).toBe(text);
  });
});

describeBackends('a trained prompt', ['wasm', 'webgpu'], () => {
  it('starts at random, from tokens at random, or from a text that is repeated or cut', async () => {
    await withPrompt({ num_virtual_tokens: 40 }, async (_decoder, adapter) => {
      const values = await vectorsOf(adapter);
      const spread = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
      expect(Math.abs(spread - 1)).toBeLessThan(0.1);
    });
    await withPrompt({ prompt_tuning_init: 'TEXT', prompt_tuning_init_text: '314' }, async (decoder, adapter) => {
      const rows = tf.gather(decoder.weights.embedding, [3, 1, 4, 3, 1]);
      expect(await vectorsOf(adapter)).toEqual(await rows.data());
      rows.dispose();
    });
    await withPrompt({ prompt_tuning_init: 'SAMPLE_VOCAB' }, async (decoder, adapter) => {
      const [vectors, table] = [await vectorsOf(adapter), await decoder.weights.embedding.data()];
      const rowsOf = (values: ArrayLike<number>): string[] =>
        Array.from({ length: values.length / 32 }, (_, i) =>
          Array.from({ length: 32 }, (_, j) => values[32 * i + j]).join(),
        );
      expect(rowsOf(table)).toEqual(expect.arrayContaining(rowsOf(vectors)));
    });
    await withPrompt({}, async (decoder, adapter) => {
      adapter.detach();
      const untold = METHODS.prompt_tuning.create(
        decoder,
        { ...OPTIONS, prompt_tuning_init: 'TEXT', prompt_tuning_init_text: '3' },
        1,
      );
      await expect(untold.initialize?.()).rejects.toThrow('TEXT needs a model with a tokenizer');
      await expect(untold.initialize?.(() => Promise.resolve([]))).rejects.toThrow(
        'the tokenizer makes no token of it',
      );
      untold.dispose();
    });
  });

  it.each([
    { name: 'rotated positions', config: TINY_CONFIG },
    { name: 'learned positions', config: GPT2 },
  ])('stands behind the padding, so that a row is what it is alone ($name)', async ({ config }) => {
    await withPrompt(
      {},
      async (decoder) => {
        const [alone] = await hiddenOf(decoder, [ROW]);
        const padded = [0, 0, 0, ...ROW];
        const [first, second] = await hiddenOf(decoder, [[...ROW, 7, 7, 7], padded], [0, 3]);
        expectClose((first as Float32Array).subarray(0, (alone as Float32Array).length), alone as Float32Array, 1e-5);
        expectClose((second as Float32Array).subarray(3 * 32), alone as Float32Array, 1e-5);
        decoder.prefix = undefined;
        const [without] = await hiddenOf(decoder, [ROW]);
        expect(
          Math.max(...(without as Float32Array).map((v, i) => Math.abs(v - ((alone as Float32Array)[i] as number)))),
        ).toBeGreaterThan(0.1);
      },
      config,
    );
  });

  it('enters a cache with the first pass only, and generates what a pass over everything would', async () => {
    await withPrompt({}, async (decoder) => {
      const [whole] = await hiddenOf(decoder, [ROW]);
      const cache = new KvCache(1);
      const passes: Float32Array[] = [];
      for (const part of [ROW.slice(0, 3), ROW.slice(3, 4), ROW.slice(4)]) {
        const hidden = tf.tidy(() =>
          decoder.hidden({ ids: tf.tensor1d(part, 'int32'), batch: 1, length: part.length, cache }),
        );
        passes.push((await hidden.data<'float32'>()).slice());
        hidden.dispose();
      }
      expect(cache.length).toBe(5 + ROW.length);
      cache.dispose();
      expectClose(
        passes.flatMap((values) => [...values]),
        whole as Float32Array,
        1e-5,
      );
      const options = { maxNewTokens: 6, stopTokens: [] };
      const [one, two] = await generate(decoder, [ROW, [5]], options);
      expect(await generate(decoder, [[5]], options)).toEqual([two]);
      const tokens = [...ROW];
      for (let i = 0; i < 6; i++) {
        const hidden = tf.tidy(() =>
          decoder.logits(
            tf.slice(decoder.hidden({ ids: tf.tensor1d(tokens, 'int32'), batch: 1, length: tokens.length }), [
              tokens.length - 1,
              0,
            ]),
          ),
        );
        const logits = await hidden.data<'float32'>();
        hidden.dispose();
        tokens.push(logits.indexOf(Math.max(...logits)));
      }
      expect(one?.tokens).toEqual(tokens.slice(ROW.length));
      // The context is shared with the prompt.
      const [filled] = await generate(decoder, [ROW], { maxNewTokens: 1000, stopTokens: [] });
      expect(filled?.tokens).toHaveLength(64 - 5 - ROW.length);
      await expect(generate(decoder, [new Array<number>(59).fill(1)])).rejects.toThrow("the model's context is 59");
    });
  });

  it('learns the first token too; an evaluation counts the same tokens as without it', async () => {
    await withPrompt({}, async (decoder, adapter) => {
      const ids = Int32Array.from(ROW);
      const batch = { inputIds: ids, labels: ids, batch: 1, seq: ROW.length, supervisedCount: ROW.length - 1 };
      const sum = async (labels: Int32Array, training: boolean): Promise<number> => {
        const loss = batchLossSum(decoder, { ...batch, labels }, { training });
        const [value] = await loss.data();
        loss.dispose();
        return value as number;
      };
      const unlearnt = ids.slice().fill(-100, 0, 1);
      expectClose([await sum(unlearnt, true)], [await sum(ids, false)], 1e-6);
      expect(await sum(ids, true)).toBeGreaterThan((await sum(ids, false)) + 0.01);
      expect(() => batchLossSum(decoder, { ...batch, starts: new Int32Array(ROW.length) })).toThrow(
        'takes no packed rows',
      );
      const parameters = adapter.parameters.map((p) => p.variable);
      const kept = lossAndGradients(decoder, parameters, [batch]);
      const again = lossAndGradients(decoder, parameters, [batch], () => ({
        gradientCheckpointing: adapter.layerParameters,
      }));
      expectClose(await (again.gradients[0] as tf.Tensor).data(), await (kept.gradients[0] as tf.Tensor).data(), 1e-6);
      tf.dispose([kept.loss, kept.gradients, again.loss, again.gradients]);
    });
  });

  it('is the same to the byte when it is saved again, and refuses what does not fit', async () => {
    await withPrompt({}, async (decoder, adapter) => {
      const files = await adapterFiles(adapter, { model: 'org/tiny' });
      const [hidden] = await hiddenOf(decoder, [ROW]);
      expect(() => METHODS.prompt_tuning.create(decoder, OPTIONS, 1)).toThrow('already has a prompt');
      adapter.detach();
      const loaded = await loadAdapter(decoder, memoryDirectory('saved', files));
      expect(await adapterFiles(loaded)).toEqual(files);
      expect((await hiddenOf(decoder, [ROW]))[0]).toEqual(hidden);
      loaded.dispose();
      const wrong = {
        ...files,
        'adapter_config.json': JSON.stringify({ peft_type: 'PROMPT_TUNING', num_virtual_tokens: 6 }),
      };
      await expect(loadAdapter(decoder, memoryDirectory('wrong', wrong))).rejects.toThrow(
        'prompt_embeddings: found [5, 32], expected [6, 32]',
      );
      expect(() => METHODS.prompt_tuning.create(decoder, { ...OPTIONS, num_virtual_tokens: 64 }, 1)).toThrow(
        "64 leave no room for text in the model's context of 64",
      );
    });
  });
});
