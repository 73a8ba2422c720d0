import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { readPeftAdapter, type PeftAdapter } from '../../src/adapters/peft/document.js';
import { adapterTensors, plainPairs } from '../../src/export/adapter-tensors.js';
import { fusionOf, loraFusion } from '../../src/export/weight-merge.js';
import { mergedFiles, type MergeOptions } from '../../src/export/merge.js';
import { quantizedFiles } from '../../src/export/quantize-checkpoint.js';
import { openCheckpoint } from '../../src/io/weights-file.js';
import { memoryDirectory, readText, type Directory } from '../../src/io/directory.js';
import { localDirectory } from '../../src/io/node.js';
import { encodeSafetensors, float32Tensor } from '../../src/io/safetensors.js';
import { loadModel } from '../../src/model/load.js';
import { describeBackends } from '../support/backends.js';
import { goldenFolder, missingGoldens, readTensors } from '../support/goldens.js';
import { asDirectory } from '../support/outputs.js';
import { describeReferences, itReferences } from '../support/references.js';
import { modelFiles, TINY_CONFIG } from '../support/tiny-model.js';

async function merged(base: Directory, adapter: PeftAdapter, options?: MergeOptions): Promise<Directory> {
  const checkpoint = await openCheckpoint(base);
  try {
    return await asDirectory(await mergedFiles(base, checkpoint, fusionOf(adapter), options));
  } finally {
    await checkpoint.close();
  }
}

const adapterOf = (architecture: string, variant = 'lora'): Promise<PeftAdapter> =>
  readPeftAdapter(localDirectory(join(goldenFolder(architecture) as string, 'golden', variant, 'adapter')));

function worst(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  return Array.from(expected).reduce((error, value, i) => Math.max(error, Math.abs(value - (actual[i] as number))), 0);
}

describeReferences(
  'merged weights, as peft merges them',
  ['llama', 'gpt2'].map((name) => `reference/transformers-peft/${name}`),
  () => {
    it.each([
      ['llama', 'lora'],
      ['llama', 'dora'],
      ['gpt2', 'lora'],
    ])('%s %s', async (architecture, variant) => {
      const folder = goldenFolder(architecture) as string;
      const golden = await readTensors(join(folder, `golden/${variant}/merged_layer0.safetensors`));
      const files = await merged(localDirectory(folder), await adapterOf(architecture, variant));
      const checkpoint = await openCheckpoint(files);
      for (const [name, { shape, values }] of golden) {
        expect(checkpoint.info(name).shape, name).toEqual(shape);
        expect(worst(await checkpoint.readFloat32(name), values), name).toBeLessThan(2e-7);
      }
    });
  },
);

/** A clone on its own has some of them. */
const MERGES = [
  ['qwen3', 'qwen3', 'lora'],
  ['llama3_tied', 'llama3_tied', 'lora'],
  ['llama_qlora', 'llama_qlora/hf4bit', 'lora'],
  ['llama', 'llama', 'rslora'],
  ['llama', 'llama', 'dora'],
  ['gpt2', 'gpt2', 'lora'],
  ['phi3', 'phi3', 'lora'],
] as const;

describeBackends('the merged model', ['wasm'], () => {
  for (const [architecture, model, variant] of MERGES) {
    itReferences(
      `${architecture} has the logits of peft’s merge (${model}, ${variant})`,
      missingGoldens(architecture, model),
      async () => {
        const folder = goldenFolder(architecture) as string;
        const files = await merged(
          localDirectory(goldenFolder(model) as string),
          await adapterOf(architecture, variant),
          { maxShardBytes: 3e5 },
        );
        const inputs = await readTensors(join(folder, 'golden/inputs.safetensors'));
        const { shape = [], values: ids = [] } = inputs.get('input_ids') ?? {};
        const mask = inputs.get('attention_mask')?.values as number[];
        const outputs = await readTensors(join(folder, 'golden', variant, 'outputs.safetensors'));
        // A clone alone has the unmerged model's, which differ by less than 1.4e-5.
        const expected = (outputs.get('merged_logits') ?? outputs.get('logits'))?.values as Float32Array;
        const decoder = await loadModel(files);
        const logits = tf.tidy(() =>
          decoder.logits(
            decoder.hidden({
              ids: tf.tensor1d(Int32Array.from(ids), 'int32'),
              batch: shape[0] as number,
              length: shape[1] as number,
            }),
          ),
        );
        const actual = await logits.data<'float32'>();
        logits.dispose();
        const { vocabSize } = decoder.config;
        decoder.dispose();
        const real = (_: number, i: number): boolean => mask[Math.floor(i / vocabSize)] === 1;
        expect(worst(actual.filter(real), expected.filter(real))).toBeLessThanOrEqual(1e-4);
      },
    );
  }
});

const TEXT = { peft_type: 'LORA', r: 1, lora_alpha: 2, target_modules: ['q'] };

function smallAdapter(tensors: Record<string, readonly [number, number]>, fields = {}): Promise<PeftAdapter> {
  const entries = Object.entries(tensors).map(
    ([key, shape]) =>
      [`base_model.model.${key}`, float32Tensor(shape, new Float32Array(shape[0] * shape[1]).fill(1))] as const,
  );
  const weights = encodeSafetensors(Object.fromEntries(entries));
  return readPeftAdapter(
    memoryDirectory('adapter', {
      'adapter_config.json': JSON.stringify({ ...TEXT, ...fields }),
      'adapter_model.safetensors': weights,
    }),
  );
}

function smallBase(config = {}): Directory {
  const tensor = float32Tensor([2, 3], Float32Array.of(0, 1, 2, 3, 4, 5));
  const half = { dtype: 'BF16', shape: [1], bytes: Uint8Array.of(0x80, 0x3f) } as const;
  const weights = encodeSafetensors({
    'q.weight': tensor,
    'k.weight': tensor,
    'norm.weight': half,
    inv_freq: { dtype: 'I64', shape: [1], bytes: new Uint8Array(8) },
  });
  const text = JSON.stringify({ model_type: 'x', torch_dtype: 'float32', ...config }, null, 2);
  return memoryDirectory('base', {
    'config.json': text,
    'model.safetensors': weights,
    'tokenizer.json': '{}',
    'notes.md': 'no',
  });
}

describe('mergedFiles', () => {
  it('adds s·B·A, keeps every other tensor, and copies the tokenizer', async () => {
    const files = await merged(
      smallBase({ quantization_config: { a: 1 } }),
      await smallAdapter({ 'q.lora_A.weight': [1, 3], 'q.lora_B.weight': [2, 1] }),
    );
    expect(await files.list()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json']);
    const checkpoint = await openCheckpoint(files);
    expect([...(await checkpoint.readFloat32('q.weight'))]).toEqual([2, 3, 4, 5, 6, 7]);
    expect([...(await checkpoint.readFloat32('k.weight'))]).toEqual([0, 1, 2, 3, 4, 5]);
    expect(checkpoint.info('norm.weight').dtype).toBe('BF16');
    expect(await readText(files, 'config.json')).toBe('{\n  "model_type": "x",\n  "torch_dtype": "float32"\n}');
  });

  it('stores all floats as asked for, and says so in config.json', async () => {
    const adapter = await smallAdapter({ 'q.lora_A.weight': [1, 3], 'q.lora_B.weight': [2, 1] });
    const files = await merged(smallBase(), adapter, { dtype: 'F16' });
    const checkpoint = await openCheckpoint(files);
    expect(['q.weight', 'k.weight', 'norm.weight', 'inv_freq'].map((name) => checkpoint.info(name).dtype)).toEqual([
      'F16',
      'F16',
      'F16',
      'I64',
    ]);
    expect(await readText(files, 'config.json')).toContain('"torch_dtype": "float16"');
    await expect(
      merged(
        smallBase(),
        await smallAdapter({ 'q.lora_A.weight': [1, 3], 'q.lora_B.weight': [2, 1] }, { lora_alpha: 1e5 }),
        { dtype: 'F16' },
      ),
    ).rejects.toThrow('q.weight: element 0 is 100000, which float16 cannot hold');
  });

  it('cuts shards and indexes them', async () => {
    const files = await merged(
      smallBase(),
      await smallAdapter({ 'q.lora_A.weight': [1, 3], 'q.lora_B.weight': [2, 1] }),
      { maxShardBytes: 40 },
    );
    const shards = (await files.list()).filter((name) => name.includes('-of-'));
    expect(shards).toEqual(['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']);
    const index = JSON.parse((await readText(files, 'model.safetensors.index.json')) as string) as {
      metadata: unknown;
      weight_map: object;
    };
    expect(index.metadata).toEqual({ total_size: 24 + 24 + 2 + 8 });
    expect(Object.keys(index.weight_map)).toEqual(['inv_freq', 'k.weight', 'norm.weight', 'q.weight']);
    expect([...(await (await openCheckpoint(files)).readFloat32('q.weight'))]).toEqual([2, 3, 4, 5, 6, 7]);
  });

  it('puts modules that were trained whole in the place of the base’s, and updates embeddings', async () => {
    const adapter = await smallAdapter(
      { 'q.lora_embedding_A': [1, 2], 'q.lora_embedding_B': [3, 1], 'k.weight': [2, 3] },
      { modules_to_save: ['k'] },
    );
    const checkpoint = await openCheckpoint(await merged(smallBase(), adapter));
    expect([...(await checkpoint.readFloat32('q.weight'))]).toEqual([2, 3, 4, 5, 6, 7]);
    expect([...(await checkpoint.readFloat32('k.weight'))]).toEqual([1, 1, 1, 1, 1, 1]);
  });

  it('passes over the untouched weights that PEFT puts beside an embedding’s adapter', async () => {
    const adapter = await smallAdapter({
      'q.lora_embedding_A': [1, 2],
      'q.lora_embedding_B': [3, 1],
      'q.base_layer.weight': [2, 3],
    });
    expect(adapterTensors(adapter).saved.size).toBe(0);
    const checkpoint = await openCheckpoint(await merged(smallBase(), adapter));
    expect([...(await checkpoint.readFloat32('q.weight'))]).toEqual([2, 3, 4, 5, 6, 7]);
  });

  it('refuses a base in 4 bits under LoftQ, which made its own of the floats', async () => {
    const base = memoryDirectory('tiny', modelFiles({ ...TINY_CONFIG, hidden_size: 64 }));
    const checkpoint = await openCheckpoint(base);
    const packed = await asDirectory(
      await quantizedFiles(base, checkpoint, {
        quantType: 'nf4',
        doubleQuant: true,
        blockSize: 64,
        skipModules: [],
        computeDtype: 'float32',
      }),
    );
    const module = 'model.layers.0.self_attn.q_proj';
    const adapter = await smallAdapter(
      { [`${module}.lora_A.weight`]: [1, 64], [`${module}.lora_B.weight`]: [64, 1] },
      { init_lora_weights: 'loftq' },
    );
    await expect(merged(packed, adapter)).rejects.toThrow(`${module}: LoftQ made its base of the float weights`);
    expect(() => plainPairs(adapter, 'an MLX adapter')).toThrow(
      'init_lora_weights: "loftq": an MLX adapter goes on the base as it was',
    );
  });

  it('lists everything that does not fit', async () => {
    const adapter = await smallAdapter({
      'q.lora_A.weight': [1, 2],
      'q.lora_B.weight': [2, 1],
      'lm_head.lora_A.weight': [1, 3],
      'lm_head.lora_B.weight': [4, 1],
    });
    const error = merged(smallBase(), adapter);
    await expect(error).rejects.toThrow('q: the adapter is made for [2, 2], the base has [2, 3]');
    await expect(error).rejects.toThrow('lm_head: the base stores no lm_head.weight');
  });

  it('lists every part of an adapter that it does not know', async () => {
    const tensors = {
      'q.lora_A.weight': [1, 2],
      'k.lora_A.weight': [3, 2],
      'k.lora_B.weight': [2, 3],
      'x.lora_magnitude_vector': [1, 1],
      'x.lora_B.bias': [1, 1],
    } as const;
    const adapter = await smallAdapter(tensors, { bias: 'all', init_lora_weights: 'pissa' });
    for (const message of [
      'bias: "all" is not supported',
      'init_lora_weights: "pissa": the adapter belongs to a base with changed weights',
      'q: has lora_A without lora_B',
      'k: found A [3, 2] and B [2, 3], allowed [1, in] and [out, 1] for rank 1',
      'x: a DoRA magnitude without a low-rank update',
      'base_model.model.x.lora_B.bias: no part of a LoRA adapter',
    ]) {
      expect(() => loraFusion(adapter)).toThrow(message);
    }
    const other = { ...adapter, json: { peft_type: 'PROMPT_TUNING' }, config: undefined };
    expect(() => loraFusion(other)).toThrow('peft_type: found "PROMPT_TUNING", allowed "LORA"');
  });

  it('takes rows that were trained by themselves, new ones too, and the vocabulary grows', async () => {
    const adapter = await smallAdapter(
      { 'q.token_adapter.trainable_tokens_delta': [2, 3] },
      { trainable_token_indices: { q: [1, 2] } },
    );
    const files = await merged(smallBase({ vocab_size: 2 }), adapter);
    const checkpoint = await openCheckpoint(files);
    expect(checkpoint.info('q.weight').shape).toEqual([3, 3]);
    expect([...(await checkpoint.readFloat32('q.weight'))]).toEqual([0, 1, 2, 1, 1, 1, 1, 1, 1]);
    expect(await readText(files, 'config.json')).toContain('"vocab_size": 3');
    const gap = await smallAdapter(
      { 'q.token_adapter.trainable_tokens_delta': [2, 3] },
      { trainable_token_indices: [1, 3] },
    );
    await expect(merged(smallBase(), gap)).rejects.toThrow('q.weight: the adapter has a new row 3, the base ends at 2');
  });

  it('gives a tied model an output layer of its own when the adapter changes that', async () => {
    const tied = { ...TINY_CONFIG, tie_word_embeddings: true };
    const base = memoryDirectory('tied', modelFiles(tied));
    const adapter = await smallAdapter({ 'lm_head.lora_A.weight': [1, 32], 'lm_head.lora_B.weight': [32, 1] });
    const files = await merged(base, adapter);
    expect(JSON.parse((await readText(files, 'config.json')) as string)).toMatchObject({ tie_word_embeddings: false });
    const [before, after] = [await openCheckpoint(base), await openCheckpoint(files)];
    const table = await before.readFloat32('model.embed_tokens.weight');
    expect(await after.readFloat32('model.embed_tokens.weight')).toEqual(table);
    expect(await after.readFloat32('lm_head.weight')).toEqual(table.map((value) => value + 2));
  });

  it('puts trained layers in the place of the base’s', async () => {
    const weights = encodeSafetensors({ 'base_model.model.k.weight': float32Tensor([2, 3], new Float32Array(6)) });
    const adapter = await readPeftAdapter(
      memoryDirectory('layers', {
        'adapter_config.json': '{"peft_type": "LAYERS"}',
        'adapter_model.safetensors': weights,
      }),
    );
    const checkpoint = await openCheckpoint(await merged(smallBase(), adapter));
    expect([...(await checkpoint.readFloat32('k.weight'))]).toEqual([0, 0, 0, 0, 0, 0]);
    expect([...(await checkpoint.readFloat32('q.weight'))]).toEqual([0, 1, 2, 3, 4, 5]);
  });
});
