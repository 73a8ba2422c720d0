import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { adapterFiles, loadAdapter, readAdapter } from '../../src/adapters/peft/files.js';
import { loraScale, parseLoraConfig, patternValue, serializeLoraConfig } from '../../src/adapters/lora/config.js';
import { METHODS } from '../../src/adapters/registry.js';
import { matchTargets } from '../../src/adapters/lora/targets.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { localDirectory } from '../../src/io/node.js';
import { encodeSafetensors, float32Tensor } from '../../src/io/safetensors.js';
import { loadModel } from '../../src/model/load.js';
import { describeBackends } from '../support/backends.js';
import { itReferences, referencePath } from '../support/references.js';
import { tinyModelFiles } from '../support/tiny-model.js';

const MODULES = ['model.layers.0.self_attn.q_proj', 'model.layers.0.mlp.up_proj', 'model.layers.10.self_attn.q_proj'];
const OPTIONS = {
  r: 4,
  lora_alpha: 8,
  lora_dropout: 0,
  target_modules: 'all-linear',
  use_rslora: false,
  init_lora_weights: true,
} as const;

describe('matchTargets', () => {
  it('takes all, suffixes at a dot, or a whole expression', () => {
    expect(matchTargets(MODULES, 'all-linear')).toEqual(MODULES);
    expect(matchTargets(MODULES, ['q_proj'])).toEqual([MODULES[0], MODULES[2]]);
    expect(matchTargets(MODULES, ['mlp.up_proj'])).toEqual([MODULES[1]]);
    expect(matchTargets(MODULES, String.raw`.*\.0\..*_proj`)).toEqual([MODULES[0], MODULES[1]]);
  });

  it('refuses what matches nothing, and says what there is', () => {
    expect(() => matchTargets(MODULES, ['q_proj', 'c_attn', '_proj'])).toThrow(
      /no linear layer is called "c_attn", "_proj"; the model has q_proj, up_proj/,
    );
    expect(() => matchTargets(MODULES, 'q_proj')).toThrow(/matches no linear layer/);
    expect(() => matchTargets(MODULES, '(')).toThrow(/is no regular expression/);
    expect(() => matchTargets(MODULES, [])).toThrow(/the list is empty/);
  });
});

describe('adapter_config.json', () => {
  it('takes a minimal file, and writes keys in order', () => {
    const config = parseLoraConfig({ peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: ['q_proj'] });
    expect(config).toMatchObject({ r: 8, loraAlpha: 16, loraDropout: 0, useRslora: false });
    const text = serializeLoraConfig(config);
    const keys = Object.keys(JSON.parse(text) as object);
    expect(keys).toEqual([...keys].sort());
    expect(parseLoraConfig(JSON.parse(text))).toEqual(config);
  });

  it('names every field that is wrong, and every one it cannot honour', () => {
    expect(() => parseLoraConfig({ peft_type: 'LORA', r: 0, target_modules: [] }, 'a.json')).toThrow(
      /a\.json: .*r: .*lora_alpha: .*target_modules: /,
    );
    const biased = {
      peft_type: 'LORA',
      r: 8,
      lora_alpha: 16,
      target_modules: ['q_proj'],
      lora_bias: true,
      bias: 'all',
    };
    expect(() => parseLoraConfig(biased)).toThrow(/bias: "all" is not supported; lora_bias: true is not supported/);
  });

  it('scales by alpha / r, or alpha / √r', () => {
    expect([loraScale(16, 32, false), loraScale(16, 32, true)]).toEqual([2, 8]);
    const ranks = { 'layers.0.self_attn.q_proj': 2, '^model.layers.10.self_attn.q_proj': 3 };
    expect(MODULES.map((name) => patternValue(ranks, name, 8))).toEqual([2, 8, 3]);
  });

  itReferences('reads every real adapter of the references', 'adapters', async () => {
    const outcomes = await Promise.all(
      readdirSync(referencePath('adapters')).map(async (name) => {
        const { tensors, config } = await readAdapter(localDirectory(referencePath(`adapters/${name}`)));
        expect(tensors.size).toBeGreaterThan(0);
        return `${name}: r ${config.peftType === 'LORA' ? config.r : 'none'}`;
      }),
    );
    expect(outcomes.sort()).toEqual([
      'distilgpt2_r8_cattn_with_trainer_state: r 8',
      'gemma3-270m_r4_qkvo: r 4',
      'gpt2_r8_cattn: r 8',
      'open-calm-1b_r1_f16: r 1',
      'opt-125m_r16_qv_dpo: r 16',
      'qwen2.5-0.5b_r8_qv: r 8',
      'tinyllama-1.1b_r4_qv: r 4',
    ]);
  });
});

describeBackends('a LoRA adapter', ['wasm'], () => {
  const model = memoryDirectory('tiny', tinyModelFiles());

  it('starts with A in ±1/√in and B at zero, by seed; gaussian has deviation 1/r', async () => {
    const decoder = await loadModel(model);
    const values = async (seed: number, init: true | 'gaussian'): Promise<Float32Array[]> => {
      const adapter = METHODS.lora.create(decoder, { ...OPTIONS, init_lora_weights: init }, seed);
      const all = await Promise.all(
        adapter.parameters.map(async ({ variable }) => (await variable.data<'float32'>()).slice()),
      );
      adapter.dispose();
      return all;
    };
    const [first, again, other, gaussian] = [
      await values(1, true),
      await values(1, true),
      await values(2, true),
      await values(1, 'gaussian'),
    ];
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
    const a = first[0] as Float32Array;
    expect(Math.max(...a.map(Math.abs))).toBeLessThanOrEqual(1 / Math.sqrt(32));
    expect((first[1] as Float32Array).every((b) => b === 0)).toBe(true);
    const spread = Math.sqrt((gaussian[0] as Float32Array).reduce((sum, x) => sum + x * x, 0) / a.length);
    expect(spread).toBeGreaterThan(0.2);
    expect(spread).toBeLessThan(0.3);
    decoder.dispose();
  });

  it('never writes a value that is not finite, and lists all that does not fit a model', async () => {
    const decoder = await loadModel(model);
    const adapter = METHODS.lora.create(decoder, { ...OPTIONS, target_modules: ['q_proj'] }, 1);
    const files = await adapterFiles(adapter, { model: 'org/base' });
    const { config, tensors } = await readAdapter(memoryDirectory('a', files));
    expect(config.baseModel).toBe('org/base');
    adapter.dispose();
    const [first, second, ...rest] = [...tensors.keys()] as [string, string, ...string[]];
    const broken = new Map([...tensors].filter(([key]) => key !== first));
    broken.set(second, float32Tensor([3, 3], new Float32Array(9)));
    broken.set('extra.lora_A.weight', float32Tensor([1], new Float32Array(1)));
    const directory = memoryDirectory('b', { ...files, 'adapter_model.safetensors': encodeSafetensors(broken) });
    const load = loadAdapter(decoder, directory);
    await expect(load).rejects.toThrow(new RegExp(`${first}: missing.*`));
    await expect(loadAdapter(decoder, directory)).rejects.toThrow(/found \[3, 3\]/);
    await expect(loadAdapter(decoder, directory)).rejects.toThrow(/extra\.lora_A\.weight: unexpected/);
    expect(rest.length).toBeGreaterThan(0);
    const infinite = new Map(tensors);
    const shape = tensors.get(first)?.shape as number[];
    infinite.set(first, float32Tensor(shape, new Float32Array(shape.reduce((a, b) => a * b)).fill(Infinity, 5)));
    const where = memoryDirectory('c', { ...files, 'adapter_model.safetensors': encodeSafetensors(infinite) });
    await expect(loadAdapter(decoder, where)).rejects.toThrow(`${first}: element 5 is Infinity`);
    const poisoned = METHODS.lora.create(decoder, { ...OPTIONS, lora_alpha: 1 }, 1);
    const variable = (poisoned.parameters[0] as (typeof poisoned.parameters)[number]).variable;
    const nan = variable.mul(NaN);
    variable.assign(nan);
    nan.dispose();
    await expect(adapterFiles(poisoned)).rejects.toThrow(/not finite; the adapter is not saved/);
    poisoned.dispose();
    decoder.dispose();
  });
});
