import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { countParameters } from '../../../src/adapters/counts.js';
import { adapterFiles, loadAdapter, readAdapterConfig } from '../../../src/adapters/peft/files.js';
import { METHODS } from '../../../src/adapters/registry.js';
import { savedSettings, trainedBase } from '../../../src/adapters/settings.js';
import { trainedModelFiles } from '../../../src/export/trained-model.js';
import { openCheckpoint } from '../../../src/io/weights-file.js';
import { memoryDirectory, type Directory } from '../../../src/io/directory.js';
import { localDirectory } from '../../../src/io/node.js';
import { parseModelConfig } from '../../../src/model/config.js';
import type { Decoder } from '../../../src/model/decoder.js';
import { loadModel, readModelConfig } from '../../../src/model/load.js';
import { batchLossSum } from '../../../src/model/loss.js';
import { trainedTensors } from '../../../src/model/trained.js';
import { AdamW } from '../../../src/train/optimizers/resident.js';
import type { MicroBatch } from '../../../src/train/objectives/objective.js';
import { lossAndGradients, trainStep } from '../../../src/train/step.js';
import { describeBackends } from '../../support/backends.js';
import { goldenFolder } from '../../support/goldens.js';
import { expectClose, expectNoLeak } from '../../support/numeric.js';
import { plainLossSum } from '../../support/plain-llama.js';
import { countingRows, modelFiles, TINY_CONFIG } from '../../support/tiny-model.js';

const QWEN2 = { ...TINY_CONFIG, model_type: 'qwen2', architectures: ['Qwen2ForCausalLM'], tie_word_embeddings: true };
const GPT2 = {
  model_type: 'gpt2',
  architectures: ['GPT2LMHeadModel'],
  vocab_size: 32,
  n_embd: 32,
  n_layer: 2,
  n_head: 4,
  n_positions: 64,
  bos_token_id: 1,
  eos_token_id: 2,
};
const GEMMA = {
  ...TINY_CONFIG,
  model_type: 'gemma',
  architectures: ['GemmaForCausalLM'],
  head_dim: 8,
  tie_word_embeddings: true,
  hidden_activation: 'gelu_pytorch_tanh',
};

const LAST = { num_trainable_layers: 1, train_norms: false, train_head: false };
const ROWS = countingRows(3, 7).map((row) => row.input_ids);
const BATCH = batchOf(ROWS);
const ADAMW = { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-3, weight_decay: 0.1 };

function batchOf(rows: readonly number[][]): MicroBatch {
  const seq = (rows[0] as number[]).length;
  const ids = Int32Array.from(rows.flat());
  return { inputIds: ids, labels: ids, batch: rows.length, seq, supervisedCount: rows.length * (seq - 1) };
}

function directoryOf(config: Readonly<Record<string, unknown>>): Directory {
  return memoryDirectory('tiny', modelFiles(config));
}

async function lossOf(decoder: Decoder): Promise<number> {
  const sum = batchLossSum(decoder, BATCH, { training: false });
  const [value] = await sum.data();
  sum.dispose();
  return value as number;
}

async function valuesOf(decoder: Decoder, names: Iterable<string>): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  for (const name of names)
    values.set(name, (await (trainedTensors(decoder).get(name) as tf.Variable).data<'float32'>()).slice());
  return values;
}

async function oneStep(
  decoder: Decoder,
  parameters: readonly tf.Variable[],
  options: Parameters<typeof trainStep>[4],
): Promise<void> {
  const optimizer = new AdamW(parameters, ADAMW);
  (await trainStep(decoder, optimizer, parameters, [BATCH], options)).dispose();
  optimizer.dispose();
}

describe('which tensors are trained', () => {
  const trained = (
    config: Readonly<Record<string, unknown>>,
    options: Partial<typeof LAST>,
  ): ((name: string) => boolean) => METHODS.layers.trainable(parseModelConfig(config), { ...LAST, ...options });

  it('are those of the last layers, the norms and the head, as asked for', () => {
    const last = trained(TINY_CONFIG, {});
    const names = [
      'model.layers.0.mlp.up_proj.weight',
      'model.layers.1.mlp.up_proj.weight',
      'model.layers.1.input_layernorm.weight',
      'model.norm.weight',
      'lm_head.weight',
      'model.embed_tokens.weight',
    ];
    expect(names.map(last)).toEqual([false, true, true, false, false, false]);
    const around = trained(TINY_CONFIG, { num_trainable_layers: 0, train_norms: true, train_head: true });
    expect(names.map(around)).toEqual([false, false, true, true, true, false]);
    // A tied head is the embedding.
    expect(names.map(trained(QWEN2, { num_trainable_layers: 0, train_head: true }))).toEqual([
      false,
      false,
      false,
      false,
      false,
      true,
    ]);
    expect(() => trained(TINY_CONFIG, { num_trainable_layers: 3 })).toThrow(
      'adapter.num_trainable_layers: 3 is more than the 2 layers of the model',
    );
  });
});

describeBackends('training every weight', ['wasm', 'webgpu'], () => {
  it.each([
    { name: 'Llama with a head of its own', config: TINY_CONFIG },
    { name: 'Qwen2 with biases and a tied head', config: QWEN2 },
  ])('$name: gradients and a step of AdamW are those of plain TensorFlow.js', async ({ config }) => {
    await expectNoLeak(async () => {
      const decoder = await loadModel(directoryOf(config), { trainable: () => true });
      const adapter = METHODS.full.create(decoder, { save_dtype: 'auto' });
      const tensors = trainedTensors(decoder);
      expect(adapter.parameters.map((p) => p.key)).toEqual(
        [...tensors.keys()].map((name) => `base_model.model.${name}`),
      );
      const variables = [...tensors.values()];
      const expected = tf.variableGrads(
        () => tf.mul(plainLossSum(tensors, config, ROWS), 1 / BATCH.supervisedCount) as tf.Scalar,
        variables,
      );
      const { loss, gradients } = lossAndGradients(decoder, variables, [BATCH]);
      expectClose(await loss.data(), await expected.value.data(), 1e-5, 'loss');
      const before = await valuesOf(decoder, tensors.keys());
      const plain = new Map<string, Float32Array>();
      for (const [i, [name, variable]] of [...tensors].entries()) {
        const gradient = await (expected.grads[variable.name] as tf.Tensor).data<'float32'>();
        plain.set(name, gradient.slice());
        expect(Math.max(...gradient.map(Math.abs)), name).toBeGreaterThan(1e-4);
        expectClose(await (gradients[i] as tf.Tensor).data(), gradient, 1e-5, name);
      }
      tf.dispose([loss, gradients, expected.value, Object.values(expected.grads)]);

      const rate = 0.01;
      await oneStep(decoder, variables, { learningRate: rate, maxGradNorm: 0 });
      for (const [name, values] of await valuesOf(decoder, tensors.keys())) {
        const [was, gradient] = [before.get(name) as Float32Array, plain.get(name) as Float32Array];
        // The first step: m / (1 − β₁) is the gradient itself, √(v / (1 − β₂)) its size.
        const wanted = was.map(
          (value, i) =>
            value * (1 - rate * ADAMW.weight_decay) -
            (rate * (gradient[i] as number)) / (Math.abs(gradient[i] as number) + ADAMW.adam_epsilon),
        );
        expectClose(values, wanted, 2e-5, name);
      }
      adapter.dispose();
      decoder.dispose();
    });
  });

  it('gives the same gradients when layers are computed again in the backward pass', async () => {
    const decoder = await loadModel(directoryOf(QWEN2), { trainable: () => true });
    const adapter = METHODS.full.create(decoder, { save_dtype: 'auto' });
    const variables = adapter.parameters.map((p) => p.variable);
    expect(adapter.layerParameters.map((layer) => layer.length)).toEqual([12, 12]);
    const kept = lossAndGradients(decoder, variables, [BATCH]);
    const again = lossAndGradients(decoder, variables, [BATCH], () => ({
      gradientCheckpointing: adapter.layerParameters,
    }));
    for (const [i, { key }] of adapter.parameters.entries())
      expectClose(
        await (again.gradients[i] as tf.Tensor).data(),
        await (kept.gradients[i] as tf.Tensor).data(),
        1e-6,
        key,
      );
    tf.dispose([kept.loss, kept.gradients, again.loss, again.gradients]);
    adapter.dispose();
    decoder.dispose();
  });

  it.each([
    { name: 'Llama', config: TINY_CONFIG },
    { name: 'GPT-2, which stores weights turned over', config: GPT2 },
    { name: 'Gemma, whose norms are stored as what they add to 1', config: GEMMA },
  ])('$name: ends with a model that loads as any other', async ({ config }) => {
    await expectNoLeak(async () => {
      const base = directoryOf(config);
      const decoder = await loadModel(base, { trainable: () => true });
      const adapter = METHODS.full.create(decoder, { save_dtype: 'auto' });
      const before = await lossOf(decoder);
      await oneStep(
        decoder,
        adapter.parameters.map((p) => p.variable),
        { learningRate: 0.01, maxGradNorm: 1 },
      );
      const trained = await lossOf(decoder);
      expect(trained).toBeLessThan(before);
      const files = await trainedModelFiles(base, adapter, undefined);
      expect(Object.keys(files).sort()).toEqual(['config.json', 'model.safetensors']);
      const half = await trainedModelFiles(base, adapter, 'BF16');
      adapter.dispose();
      decoder.dispose();

      const again = await loadModel(memoryDirectory('trained', files));
      expectClose([await lossOf(again)], [trained], 1e-6);
      again.dispose();
      const rounded = await loadModel(memoryDirectory('rounded', half));
      expectClose([await lossOf(rounded)], [trained], 0.02);
      rounded.dispose();
      const checkpoint = await openCheckpoint(memoryDirectory('rounded', half));
      expect(new Set(checkpoint.names().map((name) => checkpoint.info(name).dtype))).toEqual(new Set(['BF16']));
      expect(JSON.parse(half['config.json'] as string)).toMatchObject({ torch_dtype: 'bfloat16' });
      await checkpoint.close();
    });
  });
});

describeBackends('training the last layers', ['wasm', 'webgpu'], () => {
  it.each([
    { name: 'floats', config: TINY_CONFIG, quantization: undefined },
    { name: '4 bits', config: TINY_CONFIG, quantization: { quantType: 'nf4' as const } },
    { name: 'floats of GPT-2', config: GPT2, quantization: undefined },
  ])(
    'over $name: changes them alone, is saved, and exchanges values with the base',
    async ({ config, quantization }) => {
      await expectNoLeak(async () => {
        const base = directoryOf(config);
        const options = { num_trainable_layers: 1, train_norms: true, train_head: false };
        const trainable = METHODS.layers.trainable(parseModelConfig(config), options);
        const decoder = await loadModel(base, { quantization, trainable });
        const kinds = [...decoder.weights.linears].map(
          ([name, { weight }]) => `${/\d/.exec(name)?.[0]} ${weight.kind}`,
        );
        expect(new Set(kinds)).toEqual(new Set([`0 ${quantization === undefined ? 'dense' : '4bit'}`, '1 dense']));
        const adapter = METHODS.layers.create(decoder, options);
        await adapter.initialize();
        const counts = countParameters(decoder, adapter);
        expect(counts.trainable).toBeLessThan(counts.total);
        expect(counts.total).toBe(countParameters(decoder).total);
        const before = await lossOf(decoder);
        await oneStep(
          decoder,
          adapter.parameters.map((p) => p.variable),
          { learningRate: 0.01, maxGradNorm: 1 },
        );
        const trained = await lossOf(decoder);
        expect(trained).toBeLessThan(before);
        const files = await adapterFiles(adapter, { model: 'org/tiny' });
        adapter.detach();
        expect(await lossOf(decoder)).toBe(before);
        adapter.attach();
        expect(await lossOf(decoder)).toBe(trained);
        adapter.dispose();
        decoder.dispose();

        const saved = memoryDirectory('saved', files);
        const settings = savedSettings(await readAdapterConfig(saved));
        expect(settings).toEqual({ method: 'layers', ...options });
        const other = await loadModel(base, {
          quantization,
          trainable: trainedBase(parseModelConfig(config), settings),
        });
        const loaded = await loadAdapter(other, saved);
        expect(await lossOf(other)).toBe(trained);
        expect(await adapterFiles(loaded)).toEqual(files);
        loaded.detach();
        expect(await lossOf(other)).toBe(before);
        loaded.attach();
        expect(await lossOf(other)).toBe(trained);
        loaded.dispose();
        expect(await lossOf(other)).toBe(before);
        other.dispose();
      });
    },
  );

  it('decodes those of a checkpoint in 4 bits to floats, and leaves the others; training all of them is refused', async () => {
    await expectNoLeak(async () => {
      const base = localDirectory(join(goldenFolder('llama_qlora') as string, 'hf4bit'));
      const model = await readModelConfig(base);
      const coded = await loadModel(base);
      const decoder = await loadModel(base, { trainable: METHODS.layers.trainable(model, LAST) });
      const last = model.family.modules.layer(model.numLayers - 1);
      for (const [name, { weight }] of decoder.weights.linears)
        expect(weight.kind, name).toBe(name.startsWith(`${last}.`) ? 'dense' : '4bit');
      expectClose([await lossOf(decoder)], [await lossOf(coded)], 1e-5);
      decoder.dispose();
      coded.dispose();
      expect(() => METHODS.full.trainable(model)).toThrow('adapter.method: full: the model is stored in 4 bits');
    });
  });

  it('needs a base that was loaded for it, and its own tensors', async () => {
    const decoder = await loadModel(directoryOf(TINY_CONFIG));
    expect(() => METHODS.layers.create(decoder, LAST)).toThrow(
      /of the base model are trained: it has to be loaded for that/,
    );
    decoder.dispose();
    const two = METHODS.layers.mismatches(
      parseModelConfig(TINY_CONFIG),
      { peftType: 'LAYERS', options: { ...LAST, train_head: true }, baseModel: undefined, revision: undefined },
      new Map([['base_model.model.lm_head.weight', { shape: [1, 2] }]]),
    );
    expect(two).toContain('base_model.model.lm_head.weight: found [1, 2], expected [32, 32]');
    expect(two).toContain('base_model.model.model.layers.1.self_attn.q_proj.weight: missing, expected [32, 32]');
  });
});
