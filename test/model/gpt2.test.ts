import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { adapterFiles, readAdapter } from '../../src/adapters/peft/files.js';
import { METHODS } from '../../src/adapters/registry.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { localDirectory } from '../../src/io/node.js';
import {
  encodeSafetensors,
  float32Tensor,
  SafetensorsFile,
  toFloat32,
  type TensorBytes,
} from '../../src/io/safetensors.js';
import { memorySource } from '../../src/io/source.js';
import { parseModelConfig } from '../../src/model/config.js';
import type { Decoder } from '../../src/model/decoder.js';
import { loadModel } from '../../src/model/load.js';
import { expectedTensors, weightLayout } from '../../src/model/tensors.js';
import { describeBackends } from '../support/backends.js';
import { FAMILY_CONFIGS } from '../support/family-models.js';
import { describeReferences, referencePath } from '../support/references.js';
import { modelFiles } from '../support/tiny-model.js';

const configOf = (name: string): Record<string, unknown> =>
  FAMILY_CONFIGS.find(([known]) => known === name)?.[1] as Record<string, unknown>;
const GPT2 = configOf('gpt2');

async function tensorsOf(config: Record<string, unknown>): Promise<Map<string, TensorBytes>> {
  const file = await SafetensorsFile.open(memorySource('model', modelFiles(config)['model.safetensors']));
  return new Map(
    await Promise.all([...file.tensors.keys()].map(async (name) => [name, await file.read(name)] as const)),
  );
}

function directoryOf(
  config: Record<string, unknown>,
  tensors: ReadonlyMap<string, TensorBytes>,
): ReturnType<typeof memoryDirectory> {
  return memoryDirectory('model', {
    'config.json': JSON.stringify(config),
    'model.safetensors': encodeSafetensors(tensors, { format: 'pt' }),
  });
}

async function logitsOf(decoder: Decoder, ids: readonly number[], batch: number): Promise<Float32Array> {
  const logits = tf.tidy(() =>
    decoder.logits(decoder.hidden({ ids: tf.tensor1d([...ids], 'int32'), batch, length: ids.length / batch })),
  );
  const values = await logits.data<'float32'>();
  logits.dispose();
  return values;
}

describeBackends('GPT-2', ['wasm'], () => {
  it('loads without the name of the model in front of the tensors, with buffers among them', async () => {
    const tensors = await tensorsOf(GPT2);
    const bare = new Map([...tensors].map(([name, tensor]) => [name.replace('transformer.', ''), tensor]));
    bare.set('h.0.attn.bias', float32Tensor([1, 1, 4, 4], new Float32Array(16)));
    bare.set('h.0.attn.masked_bias', float32Tensor([], Float32Array.of(-1e4)));
    const [whole, short] = [await loadModel(directoryOf(GPT2, tensors)), await loadModel(directoryOf(GPT2, bare))];
    expect(await logitsOf(short, [3, 1, 4], 1)).toEqual(await logitsOf(whole, [3, 1, 4], 1));
    whole.dispose();
    short.dispose();
  });

  it('refuses rows beyond its positions', async () => {
    const decoder = await loadModel(directoryOf(GPT2, await tensorsOf(GPT2)));
    await expect(logitsOf(decoder, Array<number>(65).fill(1), 1)).rejects.toThrow(
      '65 tokens, and the model knows 64 positions',
    );
    decoder.dispose();
  });

  it('writes adapters as PEFT does for weights that lie transposed', async () => {
    for (const name of ['gpt2', 'gpt_neox']) {
      const config = configOf(name);
      const decoder = await loadModel(directoryOf(config, await tensorsOf(config)));
      const adapter = METHODS.lora.create(
        decoder,
        {
          r: 2,
          lora_alpha: 4,
          lora_dropout: 0,
          target_modules: 'all-linear',
          use_rslora: false,
          init_lora_weights: true,
        },
        1,
      );
      const files = await adapterFiles(adapter);
      expect(JSON.parse(files['adapter_config.json'] as string)).toMatchObject({ fan_in_fan_out: name === 'gpt2' });
      const { tensors } = await readAdapter(memoryDirectory('adapter', files));
      const module = name === 'gpt2' ? 'transformer.h.0.attn.c_attn' : 'gpt_neox.layers.0.attention.query_key_value';
      expect(tensors.get(`base_model.model.${module}.lora_A.weight`)?.shape).toEqual([2, 32]);
      expect(tensors.get(`base_model.model.${module}.lora_B.weight`)?.shape).toEqual([96, 2]);
      adapter.dispose();
      decoder.dispose();
    }
  });

  it('is GPT-NeoX with one sublayer after the other where positions say nothing', async () => {
    const neox = { ...configOf('gpt_neox, one sublayer after the other'), tie_word_embeddings: true };
    const gpt2 = { ...GPT2, activation_function: 'gelu', n_inner: 48 };
    const given = await tensorsOf(neox);
    const same = new Map<string, TensorBytes>();
    for (const [name, shape] of expectedTensors(parseModelConfig(gpt2))) {
      if (name === 'transformer.wpe.weight') {
        same.set(name, float32Tensor(shape, new Float32Array(64 * 32)));
        continue;
      }
      const there = NEOX_NAMES.reduce((path, [from, to]) => path.replace(from, to), name);
      const values = toFloat32(given.get(there) as TensorBytes, there);
      const sorted = name.includes('c_attn') ? headsToBlocks(values) : values;
      same.set(
        name,
        float32Tensor(
          shape,
          shape.length === 2 && !name.includes('wte') ? transposed(sorted, shape as [number, number]) : sorted,
        ),
      );
    }
    const [there, here] = [await loadModel(directoryOf(neox, given)), await loadModel(directoryOf(gpt2, same))];
    // Rows of one token each.
    const ids = [3, 1, 4, 1, 5, 9, 2, 6];
    const [expected, actual] = [await logitsOf(there, ids, ids.length), await logitsOf(here, ids, ids.length)];
    expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(0.1);
    actual.forEach((value, i) => expect(Math.abs(value - (expected[i] as number))).toBeLessThan(1e-5));
    there.dispose();
    here.dispose();
  });
});

const NEOX_NAMES: readonly (readonly [string, string])[] = [
  ...([
    ['transformer.wte', 'gpt_neox.embed_in'],
    ['transformer.ln_f', 'gpt_neox.final_layer_norm'],
    ['transformer.h', 'gpt_neox.layers'],
  ] as const),
  ...([
    ['ln_1', 'input_layernorm'],
    ['ln_2', 'post_attention_layernorm'],
    ['attn.c_attn', 'attention.query_key_value'],
  ] as const),
  ...([
    ['attn.c_proj', 'attention.dense'],
    ['mlp.c_fc', 'mlp.dense_h_to_4h'],
    ['mlp.c_proj', 'mlp.dense_4h_to_h'],
  ] as const),
];

/** Rows of q, k and v of four heads of eight, head by head, put one after the other. */
function headsToBlocks(values: Float32Array): Float32Array {
  const columns = values.length / 96;
  const row = (j: number): number => Math.floor((j % 32) / 8) * 24 + Math.floor(j / 32) * 8 + (j % 8);
  return values.map((_, i) => values[row(Math.floor(i / columns)) * columns + (i % columns)] as number);
}

/** `[out, in]` to `[in, out]`. */
function transposed(values: Float32Array, [inner, out]: readonly [number, number]): Float32Array {
  return values.map((_, i) => values[(i % out) * inner + Math.floor(i / out)] as number);
}

describe('weightLayout', () => {
  it('is that of the linear layers, and never of the embedding or the head', () => {
    const gpt2 = parseModelConfig(GPT2);
    expect(
      ['transformer.h.1.mlp.c_fc', 'transformer.wte', 'lm_head'].map((module) => weightLayout(gpt2, module)),
    ).toEqual(['conv1d', 'linear', 'linear']);
    expect(weightLayout(parseModelConfig(configOf('gpt_neox')), 'gpt_neox.layers.0.attention.dense')).toBe('linear');
  });
});

describeReferences('real adapters', 'adapters', () => {
  const gpt2 = { model_type: 'gpt2', n_embd: 768, n_head: 12, n_layer: 12, n_positions: 1024, vocab_size: 50257 };
  const calm = {
    ...{
      model_type: 'gpt_neox',
      hidden_size: 2048,
      intermediate_size: 8192,
      num_attention_heads: 16,
      num_hidden_layers: 24,
      rotary_pct: 1,
    },
    ...{
      max_position_embeddings: 2048,
      vocab_size: 52096,
      layer_norm_eps: 1e-5,
      hidden_act: 'gelu',
      use_parallel_residual: false,
    },
  };

  it.each([
    ['gpt2_r8_cattn', gpt2],
    ['distilgpt2_r8_cattn_with_trainer_state', { ...gpt2, n_layer: 6 }],
    ['open-calm-1b_r1_f16', calm],
  ])('%s has the names and shapes of its model', async (name, config) => {
    const { config: adapter, tensors } = await readAdapter(localDirectory(referencePath(`adapters/${name}`)));
    if (adapter.peftType !== 'LORA') throw new Error(`${name} is no LoRA`);
    expect(METHODS.lora.mismatches(parseModelConfig(config), adapter, tensors)).toEqual([]);
  });
});
