import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { definitionOf, type AdapterSettings } from '../../src/adapters/registry.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { encodeSafetensors, float32Tensor } from '../../src/io/safetensors.js';
import { parseModelConfig } from '../../src/model/config.js';
import type { Decoder } from '../../src/model/decoder.js';
import { loadModel, type LoadOptions, type LoadQuantization } from '../../src/model/load.js';
import { expectedTensors } from '../../src/model/tensors.js';
import { planMemory } from '../../src/plan/memory.js';
import type { PlanSettings } from '../../src/plan/settings.js';
import { OBJECTIVES } from '../../src/train/objectives/registry.js';
import { createOptimizer } from '../../src/train/optimizers/registry.js';
import type { MicroBatch } from '../../src/train/objectives/objective.js';
import { trainStep } from '../../src/train/step.js';
import { describeBackends } from '../support/backends.js';
import { holdGpu, watchMemory } from '../support/peak.js';
import { TINY_CONFIG } from '../support/tiny-model.js';

const NF4: LoadQuantization = { quantType: 'nf4' };

const TINY = {
  ...TINY_CONFIG,
  ...{
    vocab_size: 4096,
    hidden_size: 288,
    intermediate_size: 768,
    num_hidden_layers: 6,
    num_attention_heads: 6,
    num_key_value_heads: 6,
    max_position_embeddings: 256,
  },
};
/** The widths of SmolLM-135M, two of its thirty layers. */
const SMOL = {
  ...TINY_CONFIG,
  ...{
    vocab_size: 49152,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 2,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    max_position_embeddings: 2048,
  },
  tie_word_embeddings: true,
};

function settingsOf(json: Record<string, unknown>, more: Partial<PlanSettings>): PlanSettings {
  return {
    model: parseModelConfig(json),
    backend: tf.getBackend(),
    quantization: undefined,
    adapter: {
      method: 'lora',
      r: 8,
      lora_alpha: 16,
      lora_dropout: 0,
      target_modules: 'all-linear',
      use_rslora: false,
      init_lora_weights: true,
    },
    ...{ batch: 1, seq: 64, accumulation: 1, gradientCheckpointing: false, optim: 'adamw' },
    ...more,
  };
}

/** A model whose values do not matter. */
async function loadAnything(json: Record<string, unknown>, options: LoadOptions): Promise<Decoder> {
  const tensors = [...expectedTensors(parseModelConfig(json))].map(([name, shape]) => {
    const values = new Float32Array(tf.util.sizeFromShape([...shape])).fill(0.01);
    return [name, float32Tensor([...shape], values)] as const;
  });
  const files = {
    'config.json': JSON.stringify(json),
    'model.safetensors': encodeSafetensors(new Map(tensors), { format: 'pt' }),
  };
  return loadModel(memoryDirectory('anything', files), options);
}

/**
 * Most bytes of tensors in a real step. What a step allocates on a GPU is decided while it is recorded: `executed`
 * false leaves out the rest, which takes a minute where the GPU is emulated.
 */
async function measuredPeak(json: Record<string, unknown>, settings: PlanSettings, executed: boolean): Promise<number> {
  const resume = executed ? () => undefined : holdGpu();
  const memory = watchMemory();
  const definition = definitionOf(settings.adapter.method);
  const decoder = await loadAnything(json, {
    quantization: settings.quantization,
    trainable: definition.trainable?.(settings.model, settings.adapter),
  });
  const adapter = definition.create(decoder, settings.adapter, 1);
  const parameters = adapter.parameters.map((p) => p.variable);
  const options = { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0 };
  const optimizer = createOptimizer(settings.optim, parameters, { ...options, momentum: settings.momentum ?? 0 });
  const { batch, seq } = settings;
  const ids = Int32Array.from({ length: batch * seq }, (_, i) => (7 * i) % settings.model.vocabSize);
  const micro: MicroBatch = { inputIds: ids, labels: ids, batch, seq, supervisedCount: batch * (seq - 1) };
  try {
    memory.reset();
    const report = await trainStep(
      decoder,
      optimizer,
      parameters,
      Array<MicroBatch>(settings.accumulation).fill(micro),
      {
        learningRate: 1e-3,
        maxGradNorm: 1,
        lossOptions: () => ({
          dropoutSeed: 1,
          ...(settings.gradientCheckpointing ? { gradientCheckpointing: adapter.layerParameters } : {}),
        }),
      },
      OBJECTIVES[settings.objective === 'sequence_mean' ? 'sequence_mean' : 'token_mean'],
    );
    if (executed || settings.backend !== 'webgpu') await report.data();
    report.dispose();
    return memory.peak;
  } finally {
    resume();
    memory.stop();
    optimizer.dispose();
    adapter.dispose();
    decoder.dispose();
  }
}

async function expectPlanned(
  json: Record<string, unknown>,
  more: Partial<PlanSettings>,
  executed = true,
): Promise<number> {
  const settings = settingsOf(json, more);
  const before = { backend: tf.getBackend(), ...tf.memory() };
  const plan = planMemory(settings);
  expect({ backend: tf.getBackend(), ...tf.memory() }).toEqual(before);
  expect(Object.values(plan.parts).reduce((sum, bytes) => sum + bytes, 0)).toBe(plan.total);
  const measured = await measuredPeak(json, settings, executed);
  expect(Math.abs(plan.total / measured - 1), `planned ${plan.total}, measured ${measured}`).toBeLessThan(0.1);
  return plan.total;
}

describeBackends('the plan of a step', ['wasm', 'tiles'], () => {
  it('is what the step of a small Llama takes, with float32 weights', async () => {
    await expectPlanned(TINY, { batch: 4, seq: 128 }, false);
  });

  it('is what it takes with 4-bit weights', async () => {
    await expectPlanned(TINY, { batch: 4, seq: 128, quantization: NF4 }, false);
    await expectPlanned(TINY, { batch: 4, seq: 128, quantization: NF4, gradientCheckpointing: true }, false);
  });

  it('is what two layers of the widths of SmolLM-135M take', async () => {
    await expectPlanned(SMOL, { quantization: NF4 }, false);
  });

  it('is what fused projections, LayerNorm and learned positions take', async () => {
    const sizes = {
      vocab_size: 2048,
      num_hidden_layers: 4,
      hidden_size: 192,
      num_attention_heads: 6,
      max_position_embeddings: 128,
    };
    const gpt2 = { model_type: 'gpt2', n_embd: 192, n_head: 6, n_layer: 4, n_positions: 128, vocab_size: 2048 };
    await expectPlanned(gpt2, { batch: 4, seq: 96 }, false);
    await expectPlanned(gpt2, { batch: 4, seq: 96, quantization: NF4, gradientCheckpointing: true }, false);
    await expectPlanned({ ...sizes, model_type: 'gpt_neox', intermediate_size: 768 }, { batch: 4, seq: 96 }, false);
    await expectPlanned(
      { ...sizes, model_type: 'phi3', intermediate_size: 512, rms_norm_eps: 1e-5 },
      { batch: 4, seq: 96 },
      false,
    );
  });

  it.each<{ adapter: AdapterSettings; quantization: LoadQuantization | undefined }>([
    { adapter: { method: 'prompt_tuning', num_virtual_tokens: 20, prompt_tuning_init: 'RANDOM' }, quantization: NF4 },
    { adapter: { method: 'bottleneck', placement: 'houlsby', non_linearity: 'relu' }, quantization: NF4 },
    { adapter: { method: 'layers', num_trainable_layers: 2, train_norms: true, train_head: true }, quantization: NF4 },
    { adapter: { method: 'full', save_dtype: 'auto' }, quantization: undefined },
  ])('is what $adapter.method takes', async ({ adapter, quantization }) => {
    const total = await expectPlanned(small, { batch: 2, seq: 40, adapter, quantization }, false);
    expect(
      await expectPlanned(small, { batch: 2, seq: 40, adapter, quantization, gradientCheckpointing: true }, false),
    ).toBeLessThan(total);
  });

  const small = {
    ...TINY,
    vocab_size: 256,
    hidden_size: 96,
    num_key_value_heads: 2,
    intermediate_size: 160,
    num_hidden_layers: 4,
    tie_word_embeddings: true,
  };

  it('follows checkpointing, accumulation, dropout and paging', async () => {
    const plain = { batch: 2, seq: 40 };
    const adapter = {
      ...settingsOf(small, {}).adapter,
      r: 16,
      lora_dropout: 0.1,
      target_modules: ['q_proj', 'v_proj', 'down_proj'],
    };
    const total = await expectPlanned(small, { ...plain, adapter });
    expect(await expectPlanned(small, { ...plain, adapter, gradientCheckpointing: true })).toBeLessThan(total);
    expect(await expectPlanned(small, { ...plain, adapter, accumulation: 3 })).toBeGreaterThan(total);
    expect(await expectPlanned(small, { ...plain, adapter, optim: 'paged_adamw' })).toBeLessThan(total);
    for (const optim of ['lion_32bit', 'paged_lion_32bit', 'sgd'] as const)
      expect(await expectPlanned(small, { ...plain, adapter, optim }), optim).toBeLessThan(total);
    await expectPlanned(small, { ...plain, adapter, optim: 'sgd', momentum: 0.9 });
    await expectPlanned(small, { ...plain, adapter, objective: 'sequence_mean' });
    await expectPlanned(small, {
      ...plain,
      adapter,
      gradientCheckpointing: true,
      quantization: { quantType: 'nf4', doubleQuant: false, blockSize: 128 },
    });
  });
});

describe('a plan by arithmetic', () => {
  it('has the weights, adapters and moments of a 7B model in 4 bits without having them', async () => {
    await tf.setBackend('cpu');
    const json = {
      ...TINY_CONFIG,
      vocab_size: 32000,
      hidden_size: 4096,
      intermediate_size: 11008,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: 32,
      max_position_embeddings: 4096,
    };
    const plan = planMemory(
      settingsOf(json, { backend: 'webgpu', quantization: NF4, batch: 1, seq: 512, gradientCheckpointing: true }),
    );
    const perLayer = 4 * 4096 * 4096 + 3 * 4096 * 11008;
    expect(plan.parts.quantizedWeights / (32 * perLayer)).toBeCloseTo(4.127 / 8, 3);
    expect(plan.parts.embeddingAndHead).toBe(2 * 4 * 32000 * 4096);
    const trainable = 32 * 8 * (4 * 2 * 4096 + 3 * (4096 + 11008));
    expect(plan.parts.adapters).toBe(4 * trainable);
    expect(plan.parts.optimizerState).toBe(8 * trainable);
    // One input a layer, and the head's gradient.
    expect(plan.keptActivations / (4 * 512 * 4096)).toBeGreaterThan(32);
    expect(plan.keptActivations / (4 * 512 * 4096)).toBeLessThan(36);
    expect(plan.headChunk).toBe(4 * 32000 * 511);
    expect(plan.largestWeight).toEqual({ name: 'model.embed_tokens.weight', bytes: 4 * 32000 * 4096 });
    expect(tf.getBackend()).toBe('cpu');
  });
});
