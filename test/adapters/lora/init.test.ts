import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { hostValues } from '../../../src/adapters/lora/base-values.js';
import type { LoraOptions } from '../../../src/adapters/lora/options.js';
import { LoraLinear } from '../../../src/adapters/lora/linear.js';
import { adapterFiles, readAdapter } from '../../../src/adapters/peft/files.js';
import { METHODS } from '../../../src/adapters/registry.js';
import type { LoraConfig } from '../../../src/adapters/lora/config.js';
import { ConfigError } from '../../../src/errors.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import type { Decoder } from '../../../src/model/decoder.js';
import { loadModel, type LoadQuantization } from '../../../src/model/load.js';
import { createOptimizer } from '../../../src/train/optimizers/registry.js';
import { describeBackends } from '../../support/backends.js';
import { expectClose } from '../../support/numeric.js';
import { modelFiles, TINY_CONFIG } from '../../support/tiny-model.js';

const R = 6;
const PLAIN: LoraOptions = {
  r: R,
  lora_alpha: 9,
  lora_dropout: 0,
  target_modules: ['gate_proj'],
  use_rslora: false,
  init_lora_weights: true,
};
const SCALE = 9 / R;
const NAME = 'model.layers.0.mlp.gate_proj';
const FILES = modelFiles({ ...TINY_CONFIG, hidden_size: 64, intermediate_size: 96 });
const MODEL = memoryDirectory('tiny', FILES);
const NF4: LoadQuantization = { quantType: 'nf4' };

/** What a layer is without an adapter, what stays frozen, and that with s·B·A, all `[out, in]`. */
async function weightsOf(decoder: Decoder): Promise<{ rest: Float32Array; whole: Float32Array }> {
  const layer = decoder.linears.get(NAME) as LoraLinear;
  const [a, b] = [await layer.a.data(), await layer.b.data()];
  const [rank, inner] = layer.a.shape;
  const rest = await hostValues(layer.weight);
  const whole = rest.map((value, at) => {
    let sum = value;
    for (let c = 0; c < rank; c++)
      sum += layer.scale * (b[Math.floor(at / inner) * rank + c] as number) * (a[c * inner + (at % inner)] as number);
    return sum;
  });
  return { rest, whole };
}

const distance = (a: Float32Array, b: Float32Array): number =>
  Math.sqrt(a.reduce((sum, value, i) => sum + (value - (b[i] as number)) ** 2, 0));
const length = (a: Float32Array): number => Math.sqrt(a.reduce((sum, value) => sum + value * value, 0));

async function started(
  options: Partial<LoraOptions>,
  quantization?: LoadQuantization,
): Promise<{ base: Float32Array; floats: Float32Array; rest: Float32Array; whole: Float32Array }> {
  const decoder = await loadModel(MODEL, { quantization });
  const layer = decoder.weights.linears.get(NAME);
  if (layer === undefined) throw new Error('no such layer');
  const base = await hostValues(layer.weight);
  const floats = (await decoder.readFloats?.(NAME)) as Float32Array;
  const adapter = METHODS.lora.create(decoder, { ...PLAIN, ...options }, 1);
  await adapter.initialize();
  const result = { base, floats, ...(await weightsOf(decoder)) };
  adapter.dispose();
  decoder.dispose();
  return result;
}

describeBackends('starts from the base’s weights', ['wasm', 'webgpu'], () => {
  it('PiSSA leaves the sum as it was, and what is frozen without its principal part', async () => {
    const { base, rest, whole } = await started({ init_lora_weights: 'pissa' });
    expectClose(whole, base, 1e-6);
    expect(length(rest)).toBeLessThan(0.9 * length(base));
    // The update holds as much as R directions can: more than any R rows.
    const fewer = await started({ init_lora_weights: 'pissa', r: 3, lora_alpha: 4.5 });
    expect(length(fewer.rest)).toBeGreaterThan(length(rest));
  });

  it('PiSSA over NF4 starts from the float weights of the checkpoint, and is nearer to them than NF4 alone', async () => {
    const { base, floats, whole } = await started({ init_lora_weights: 'pissa' }, NF4);
    expect(distance(whole, floats)).toBeLessThan(0.95 * distance(base, floats));
  });

  it('LoftQ is nearer to the float weights the longer it runs, over a float base or NF4', async () => {
    const [one, four] = [
      await started({ init_lora_weights: 'loftq' }, NF4),
      await started({ init_lora_weights: 'loftq', loftq_config: { loftq_bits: 4, loftq_iter: 4 } }, NF4),
    ];
    expect(distance(one.whole, one.floats)).toBeLessThan(0.95 * distance(one.base, one.floats));
    expect(distance(four.whole, four.floats)).toBeLessThan(distance(one.whole, one.floats));
    const float = await started({ init_lora_weights: 'loftq' });
    expect(float.rest).toEqual(one.rest);
  });

  it('LoftQ says why it cannot start from a checkpoint in 4 bits', async () => {
    const decoder = await loadModel(MODEL, { quantization: NF4 });
    decoder.readFloats = () => Promise.resolve(undefined);
    const adapter = METHODS.lora.create(decoder, { ...PLAIN, init_lora_weights: 'loftq' }, 1);
    await expect(adapter.initialize()).rejects.toThrow(ConfigError);
    adapter.dispose();
    decoder.dispose();
  });

  it('PiSSA is saved as a plain LoRA of twice the rank and the same scale', async () => {
    const decoder = await loadModel(MODEL);
    for (const use_rslora of [false, true]) {
      const adapter = METHODS.lora.create(
        decoder,
        { ...PLAIN, use_rslora, init_lora_weights: 'pissa', rank_pattern: { '1.mlp.gate_proj': 2 } },
        1,
      );
      await adapter.initialize();
      const { config: saved, tensors } = await readAdapter(memoryDirectory('a', await adapterFiles(adapter)));
      const config = saved as LoraConfig;
      expect(config).toMatchObject({ r: 2 * R, initLoraWeights: true, rankPattern: { '1.mlp.gate_proj': 4 } });
      expect(config.loraAlpha / (use_rslora ? Math.sqrt(2 * R) : 2 * R)).toBeCloseTo(
        9 / (use_rslora ? Math.sqrt(R) : R),
        12,
      );
      expect(tensors.get(`base_model.model.${NAME}.lora_A.weight`)?.shape).toEqual([2 * R, 64]);
      expect(tensors.get('base_model.model.model.layers.1.mlp.gate_proj.lora_B.weight')?.shape).toEqual([96, 4]);
      adapter.dispose();
    }
    decoder.dispose();
  });

  it('the base’s own weight stands again when the adapter is detached', async () => {
    const decoder = await loadModel(MODEL, { quantization: NF4 });
    const base = decoder.linears.get(NAME);
    const adapter = METHODS.lora.create(decoder, { ...PLAIN, init_lora_weights: 'pissa_niter_1' }, 1);
    await adapter.initialize();
    const layer = decoder.linears.get(NAME) as LoraLinear;
    expect(layer).toBeInstanceOf(LoraLinear);
    expect(layer.weight.kind).toBe('4bit');
    expect(layer.weight).not.toBe(layer.base.weight);
    adapter.detach();
    expect(decoder.linears.get(NAME)).toBe(base);
    adapter.attach();
    expect(decoder.linears.get(NAME)).toBe(layer);
    adapter.dispose();
    expect(decoder.linears.get(NAME)).toBe(base);
    expect(SCALE).toBe(layer.scale);
    decoder.dispose();
  });
});

describeBackends('LoRA+', ['wasm', 'webgpu'], () => {
  it.each(['adamw', 'paged_adamw'] as const)('trains B (and magnitudes) at a rate of its own: %s', async (optim) => {
    const decoder = await loadModel(MODEL);
    const adapter = METHODS.lora.create(decoder, { ...PLAIN, use_dora: true, loraplus_lr_ratio: 16 }, 1);
    await adapter.initialize();
    const scales = adapter.parameters.map((p) => p.learningRateScale ?? 1);
    expect(scales).toEqual([1, 16, 16, 1, 16, 16]);
    const options = { adam_beta1: 0.9, adam_beta2: 0.99, adam_epsilon: 1e-8, weight_decay: 0.1 };
    const variables = adapter.parameters.map((p) => p.variable);
    // As if the last one were a norm's.
    const spared = variables.map((_, i) => i === variables.length - 1);
    const optimizer = createOptimizer(optim, variables, options, { learningRateScales: scales, spared });
    const expected = await Promise.all(variables.map(async (v) => Float64Array.from(await v.data())));
    const moments = expected.map((values) => ({
      m: new Float64Array(values.length),
      v: new Float64Array(values.length),
    }));
    for (let step = 1; step <= 3; step++) {
      const gradients = variables.map((v, i) => tf.fill(v.shape, 0.3 * step - 0.1 * i - 0.4));
      await optimizer.step(gradients, 1e-3, 1);
      for (const [i, values] of expected.entries()) {
        const g = 0.3 * step - 0.1 * i - 0.4;
        const rate = 1e-3 * (scales[i] as number);
        const { m, v } = moments[i] as { m: Float64Array; v: Float64Array };
        values.forEach((value, k) => {
          m[k] = 0.9 * (m[k] as number) + 0.1 * g;
          v[k] = 0.99 * (v[k] as number) + 0.01 * g * g;
          const update =
            (m[k] as number) / (1 - 0.9 ** step) / (Math.sqrt((v[k] as number) / (1 - 0.99 ** step)) + 1e-8);
          values[k] = value * (1 - (spared[i] === true ? 0 : rate * 0.1)) - rate * update;
        });
      }
      tf.dispose(gradients);
    }
    for (const [i, values] of expected.entries())
      expectClose(await (variables[i] as tf.Variable).data<'float32'>(), values, 1e-6);
    optimizer.dispose();
    adapter.dispose();
    decoder.dispose();
  });

  it('gives an adapted embedding a rate of its own', async () => {
    const decoder = await loadModel(MODEL);
    const adapter = METHODS.lora.create(
      decoder,
      { ...PLAIN, target_modules: ['q_proj', 'embed_tokens'], loraplus_lr_ratio: 16, loraplus_lr_embedding: 1e-6 },
      1,
    );
    for (const { key, learningRate, learningRateScale } of adapter.parameters) {
      expect(learningRate, key).toBe(key.includes('embed_tokens') ? 1e-6 : undefined);
      expect(learningRateScale, key).toBe(key.includes('lora_B') ? 16 : undefined);
    }
    adapter.dispose();
    decoder.dispose();
  });
});
