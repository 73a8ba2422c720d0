import { describe, expect, it } from 'vitest';
import { parseModelConfig } from '../../src/model/config.js';
import { concerns, obstacles, sizeText, type DeviceLimits } from '../../src/plan/limits.js';
import { memoryPlanner, planMemory } from '../../src/plan/memory.js';
import type { PlanSettings } from '../../src/plan/settings.js';
import { fits, remedies } from '../../src/plan/suggestions.js';
import { describeRemedies } from '../../src/plan/plan-run.js';
import { TINY_CONFIG } from '../support/tiny-model.js';

const MODEL = parseModelConfig({
  ...TINY_CONFIG,
  vocab_size: 512,
  hidden_size: 128,
  intermediate_size: 384,
  num_hidden_layers: 4,
  max_position_embeddings: 512,
});
const ASKED: PlanSettings = {
  model: MODEL,
  backend: 'wasm',
  quantization: undefined,
  adapter: {
    method: 'lora',
    r: 4,
    lora_alpha: 8,
    lora_dropout: 0,
    target_modules: 'all-linear',
    use_rslora: false,
    init_lora_weights: true,
  },
  ...{ batch: 8, seq: 256, accumulation: 3, gradientCheckpointing: false, optim: 'adamw' },
};

const memory = (bytes: number): DeviceLimits => ({ memory: { bytes, what: 'a test' }, tensor: undefined });

describe('remedies', () => {
  const asked = planMemory(ASKED).total;

  it('each fit, and the next milder one of their kind does not', () => {
    const limits = memory(0.6 * asked);
    const found = remedies(ASKED, limits);
    const keys = found.map(({ changes }) => Object.keys(changes).join());
    expect(keys).toEqual([
      'training.gradient_checkpointing',
      'training.per_device_train_batch_size,training.gradient_accumulation_steps',
      'data.max_length',
    ]);
    for (const { plan } of found) expect(plan.total).toBeLessThanOrEqual(0.6 * asked);
    const { batch, accumulation } = found[1]?.plan.settings as PlanSettings;
    expect(batch * accumulation).toBe(24);
    const milder = [6, 4, 3, 2, 1].filter((size) => size > batch).at(-1) as number;
    expect(fits(planMemory({ ...ASKED, batch: milder, accumulation: 24 / milder }), limits)).toBe(false);
    const length = found[2]?.plan.settings.seq as number;
    expect(fits(planMemory({ ...ASKED, seq: length + 8 }), limits)).toBe(false);
    expect(describeRemedies(found)).toContain(
      `--set training.per_device_train_batch_size=${batch} --set training.gradient_accumulation_steps=${accumulation}  (`,
    );
  });

  it('come together where none is enough alone, and are none where nothing is', () => {
    const together = remedies(
      ASKED,
      memory(
        planMemory({
          ...ASKED,
          gradientCheckpointing: true,
          batch: 1,
          accumulation: 24,
          quantization: { quantType: 'nf4' },
        }).total,
      ),
    );
    expect(together).toHaveLength(1);
    expect(together[0]?.changes).toMatchObject({
      'training.gradient_checkpointing': true,
      'training.per_device_train_batch_size': 1,
    });
    expect(remedies(ASKED, memory(1000))).toEqual([]);
    expect(describeRemedies([])).toContain('smaller model');
  });

  it('answer for sizes that no machine has, with settings that fit, and their next ones do not', () => {
    const large = {
      ...TINY_CONFIG,
      vocab_size: 32000,
      hidden_size: 4096,
      intermediate_size: 11008,
      num_hidden_layers: 4,
      num_attention_heads: 32,
      num_key_value_heads: 32,
      max_position_embeddings: 131072,
    };
    const settings: PlanSettings = {
      ...ASKED,
      model: parseModelConfig(large),
      batch: 4096,
      seq: 131072,
      accumulation: 1,
    };
    const plan = planMemory(settings);
    expect(Object.values(plan.parts).reduce((sum, bytes) => sum + bytes, 0)).toBe(plan.total);
    // Two hidden states a layer at the least.
    expect(plan.total).toBeGreaterThan(4096 * 131072 * 4096 * 4 * 8);
    const limits = memory(4 * 2 ** 30);
    const [found, ...more] = remedies(settings, limits);
    expect(more).toEqual([]);
    expect(found?.changes).toMatchObject({
      'training.gradient_checkpointing': true,
      'training.per_device_train_batch_size': 1,
      'training.gradient_accumulation_steps': 4096,
    });
    const mended = found?.plan.settings as PlanSettings;
    expect(fits(planMemory(mended), limits)).toBe(true);
    // In steps of a 64th of the length, or of a 64th of such a step.
    const step = [2048, 32, 8].find((size) => mended.seq % size === 0) as number;
    expect(fits(planMemory({ ...mended, seq: mended.seq + step }), limits)).toBe(false);
  });

  it.each([['7B', 4096, 11008, 32, 8]])(
    'run few steps for a model as wide as one of %s',
    (_name, hidden, intermediate, kvHeads, batch) => {
      const wide = {
        ...TINY_CONFIG,
        vocab_size: 32000,
        hidden_size: hidden,
        intermediate_size: intermediate,
        num_hidden_layers: 2,
        num_attention_heads: hidden / 128,
        num_key_value_heads: kvHeads,
        max_position_embeddings: 4096,
      };
      const settings: PlanSettings = { ...ASKED, model: parseModelConfig(wide), batch, seq: 2048, accumulation: 4 };
      for (const share of [0.9, 0.4]) {
        let runs = 0;
        const planner = memoryPlanner(() => runs++);
        const needed = planner(settings).total;
        const found = remedies(settings, memory(share * needed), planner);
        expect(found.length).toBeGreaterThan(0);
        expect(Object.keys(found.at(-1)?.changes ?? {})).toEqual(['data.max_length']);
        expect(runs).toBeLessThanOrEqual(12);
      }
    },
  );

  it.each([false, true])('large batches go on from small ones (checkpointing %s)', (checkpointing) => {
    const totals = [30, 31, 32, 33, 34, 66].map(
      (batch) =>
        planMemory({ ...ASKED, accumulation: 1, gradientCheckpointing: checkpointing, batch, seq: 1024 }).total,
    );
    const [a, , c, d, e, last] = totals as [number, number, number, number, number, number];
    // 32 · 1024 tokens is the largest batch that is run; what one row more takes stays the same behind it.
    for (const step of [d - c, e - d, (last - c) / 34]) expect(Math.abs(step / ((c - a) / 2) - 1)).toBeLessThan(0.02);
  });

  it('never hold in 4 bits what is trained whole', () => {
    const full: PlanSettings = { ...ASKED, batch: 1, seq: 16, adapter: { method: 'full', save_dtype: 'auto' } };
    const needed = planMemory(full).total;
    const found = remedies(full, memory(0.8 * needed));
    expect(found.length).toBeGreaterThan(0);
    expect(JSON.stringify(found.map(({ changes }) => changes))).not.toContain('4bit');
    const last: PlanSettings = {
      ...full,
      adapter: { method: 'layers', num_trainable_layers: 1, train_norms: false, train_head: false },
    };
    expect(
      remedies(last, memory(0.8 * planMemory(last).total)).some(
        ({ changes }) => changes['quantization.load_in_4bit'] === true,
      ),
    ).toBe(true);
  });

  it('answer a tensor that is too large for the device', () => {
    const limits: DeviceLimits = { memory: undefined, tensor: { bytes: 2 ** 21, what: 'maxStorageBufferBindingSize' } };
    const plan = planMemory(ASKED);
    expect(plan.largestTransient).toBeGreaterThan(2 ** 21);
    expect(obstacles(plan, limits)).toEqual([
      expect.stringMatching(/^a step makes a tensor of .*, and one may have 2\.0 MiB \(maxStorageBufferBindingSize\)$/),
    ]);
    expect(
      remedies(ASKED, limits)
        .map(({ plan: found }) => found.largestTransient)
        .every((bytes) => bytes <= 2 ** 21),
    ).toBe(true);
    expect(concerns(plan, { memory: undefined, tensor: { bytes: 1000, what: 'maxBufferSize' } })).toEqual([
      expect.stringMatching(/^model\.embed_tokens\.weight takes 256 KiB and is held in 263 parts/),
    ]);
  });
});

describe('sizeText', () => {
  it('has three digits at most before the point', () => {
    expect([0, 512, 1536, 2 ** 20, 111_687_272, 2 ** 32].map(sizeText)).toEqual([
      '0 B',
      '512 B',
      '1.5 KiB',
      '1.0 MiB',
      '107 MiB',
      '4.0 GiB',
    ]);
  });
});
