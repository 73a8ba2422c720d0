import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import type { LoraOptions } from '../../../src/adapters/lora/options.js';
import { METHODS } from '../../../src/adapters/registry.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import { parseModelConfig } from '../../../src/model/config.js';
import { loadModel, type LoadQuantization } from '../../../src/model/load.js';
import { planMemory } from '../../../src/plan/memory.js';
import { AdamW } from '../../../src/train/optimizers/resident.js';
import type { MicroBatch } from '../../../src/train/objectives/objective.js';
import { trainStep } from '../../../src/train/step.js';
import { describeBackends } from '../../support/backends.js';
import { holdGpu, watchMemory } from '../../support/peak.js';
import { modelFiles, TINY_CONFIG } from '../../support/tiny-model.js';

const JSON_CONFIG = {
  ...TINY_CONFIG,
  vocab_size: 512,
  hidden_size: 128,
  intermediate_size: 192,
  num_hidden_layers: 3,
  max_position_embeddings: 128,
};
const MODEL = memoryDirectory('planned', modelFiles(JSON_CONFIG));
const PLAIN: LoraOptions = {
  r: 8,
  lora_alpha: 16,
  lora_dropout: 0,
  target_modules: 'all-linear',
  use_rslora: false,
  init_lora_weights: true,
};
const [BATCH, SEQ] = [2, 48];
const ADAMW = { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0 };

async function measured(options: LoraOptions, quantization: LoadQuantization | undefined): Promise<number> {
  const memory = watchMemory();
  const decoder = await loadModel(MODEL, { quantization });
  const adapter = METHODS.lora.create(decoder, options, 1);
  await adapter.initialize();
  // What a step allocates on a GPU is decided while it is recorded; the rest takes long where the GPU is emulated.
  const resume = holdGpu();
  const parameters = adapter.parameters.map((p) => p.variable);
  const optimizer = new AdamW(parameters, ADAMW);
  const ids = Int32Array.from({ length: BATCH * SEQ }, (_, i) => (7 * i) % 512);
  const micro: MicroBatch = { inputIds: ids, labels: ids, batch: BATCH, seq: SEQ, supervisedCount: BATCH * (SEQ - 1) };
  memory.reset();
  const report = await trainStep(decoder, optimizer, parameters, [micro], {
    learningRate: 1e-3,
    maxGradNorm: 1,
    lossOptions: () => ({ dropoutSeed: 1 }),
  });
  report.dispose();
  const { peak } = memory;
  resume();
  memory.stop();
  optimizer.dispose();
  adapter.dispose();
  decoder.dispose();
  return peak;
}

describeBackends('the plan of a step', ['wasm', 'tiles'], () => {
  it.each([
    { name: 'DoRA', options: { use_dora: true, lora_dropout: 0.1 } },
    { name: 'embedding and output layer', options: { target_modules: ['q_proj', 'embed_tokens', 'lm_head'] } },
    {
      name: 'modules_to_save and ranks',
      options: { modules_to_save: ['lm_head', 'norm'], rank_pattern: { q_proj: 32 } },
    },
    { name: 'new tokens', options: { trainable_token_indices: { embed_tokens: [4, 512, 513], lm_head: [512, 513] } } },
    { name: 'PiSSA', options: { init_lora_weights: 'pissa_niter_0' as const } },
    {
      name: 'PiSSA over NF4',
      options: { init_lora_weights: 'pissa_niter_0' as const },
      quantization: { quantType: 'nf4' as const },
    },
    {
      name: 'LoftQ over NF4',
      options: { init_lora_weights: 'loftq' as const },
      quantization: { quantType: 'nf4' as const },
    },
  ])('is what it takes with $name', async ({ options, quantization }) => {
    const adapter = { ...PLAIN, ...options };
    const before = { ...tf.memory() };
    const plan = planMemory({
      ...{
        model: parseModelConfig(JSON_CONFIG),
        backend: tf.getBackend(),
        quantization,
        adapter: { method: 'lora', ...adapter },
      },
      ...{ batch: BATCH, seq: SEQ, accumulation: 1, gradientCheckpointing: false, optim: 'adamw' },
    });
    expect({ ...tf.memory() }).toEqual(before);
    const peak = await measured(adapter, quantization);
    expect(Math.abs(plan.total / peak - 1), `planned ${plan.total}, measured ${peak}`).toBeLessThan(0.1);
  });
});
