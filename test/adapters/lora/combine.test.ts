import { describe, expect, it } from 'vitest';
import { combineAdapters, type WeightedAdapter } from '../../../src/adapters/lora/combine.js';
import { parseLoraConfig, serializeLoraConfig, type LoraConfig } from '../../../src/adapters/lora/config.js';
import { loraFusion } from '../../../src/export/weight-merge.js';
import { float32Tensor, type TensorBytes } from '../../../src/io/safetensors.js';
import { Random } from '../../../src/random.js';
import { normals } from '../../support/numeric.js';

const MODULES = { 'model.layers.0.self_attn.q_proj': [12, 10], 'model.layers.0.mlp.down_proj': [9, 14] } as const;

function made(name: string, weight: number, r: number, alpha: number, useRslora = false): WeightedAdapter {
  const random = new Random(r, name);
  const tensors = new Map<string, TensorBytes>();
  for (const [module, [out, inner]] of Object.entries(MODULES)) {
    tensors.set(`base_model.model.${module}.lora_A.weight`, float32Tensor([r, inner], normals(random, r * inner, 1)));
    tensors.set(`base_model.model.${module}.lora_B.weight`, float32Tensor([out, r], normals(random, out * r, 1)));
  }
  const config = parseLoraConfig({
    peft_type: 'LORA',
    r,
    lora_alpha: alpha,
    target_modules: ['q_proj', 'down_proj'],
    use_rslora: useRslora,
  });
  return { name, weight, files: { config, tensors, metadata: {} } };
}

/** ΔW of every module. */
function deltas({ files }: Pick<WeightedAdapter, 'files'>): Map<string, Float32Array> {
  const configText = serializeLoraConfig(files.config as LoraConfig);
  const fusion = loraFusion({
    name: 'test',
    configText,
    json: JSON.parse(configText) as Record<string, unknown>,
    config: files.config as LoraConfig,
    tensors: files.tensors,
    metadata: undefined,
  });
  return new Map(
    [...fusion.modules].map(([module, [out, inner]]) => [
      module,
      fusion.fuseWeight(module, new Float32Array(out * inner)),
    ]),
  );
}

function weightedSum(adapters: readonly WeightedAdapter[], module: string): Float32Array {
  const all = adapters.map((adapter) => deltas(adapter).get(module) as Float32Array);
  return (all[0] as Float32Array).map((_, i) =>
    all.reduce((sum, delta, k) => sum + (adapters[k] as WeightedAdapter).weight * (delta[i] as number), 0),
  );
}

function distance(a: Float32Array, b: Float32Array): number {
  return Math.sqrt(
    a.reduce((sum, value, i) => sum + (value - (b[i] as number)) ** 2, 0) /
      a.reduce((sum, value) => sum + value ** 2, 0),
  );
}

describe('combining adapters', () => {
  const adapters = [made('a', 0.7, 2, 4), made('b', -0.4, 3, 3, true)];

  it('cat is the weighted sum of the updates', () => {
    const files = combineAdapters(adapters, { type: 'cat' });
    expect(files.config).toMatchObject({ r: 5, loraAlpha: 5, useRslora: false });
    for (const [module, delta] of deltas({ files }))
      expect(distance(weightedSum(adapters, module), delta)).toBeLessThan(1e-6);
  });

  it('svd is that sum at full rank, and its best approximation below', () => {
    const full = combineAdapters(adapters, { type: 'svd', rank: 5 });
    for (const [module, delta] of deltas({ files: full }))
      expect(distance(weightedSum(adapters, module), delta)).toBeLessThan(1e-5);
    const errors = [1, 2, 3, 4].map((rank) => {
      const [[module, delta]] = [...deltas({ files: combineAdapters(adapters, { type: 'svd', rank }) })] as [
        [string, Float32Array],
      ];
      return distance(weightedSum(adapters, module), delta);
    });
    expect(errors).toEqual([...errors].sort((x, y) => y - x));
    // No rank-2 matrix comes nearer; each adapter alone is one.
    const [[module]] = [...deltas({ files: full })] as [[string, Float32Array]];
    const sum = weightedSum(adapters, module);
    expect(errors[1]).toBeLessThan(distance(sum, weightedSum([adapters[0] as WeightedAdapter], module)));
  });

  it('linear adds up factors of the same rank', () => {
    const same = [made('a', 0.5, 2, 4), made('b', 2, 2, 4)];
    const files = combineAdapters(same, { type: 'linear' });
    expect(files.config).toMatchObject({ r: 2, loraAlpha: 2 });
    const [module] = Object.keys(MODULES) as [string];
    const read = (adapter: WeightedAdapter, part: 'A' | 'B'): Float32Array =>
      new Float32Array(
        (adapter.files.tensors.get(`base_model.model.${module}.lora_${part}.weight`) as TensorBytes).bytes.slice()
          .buffer,
      );
    const a = new Float32Array(
      (files.tensors.get(`base_model.model.${module}.lora_A.weight`) as TensorBytes).bytes.slice().buffer,
    );
    // Scale 4 / 2 = 2: factors √(0.5 · 2) = 1 and √(2 · 2) = 2.
    const [first, second] = same as [WeightedAdapter, WeightedAdapter];
    a.forEach((value, i) =>
      expect(value).toBeCloseTo((read(first, 'A')[i] as number) + 2 * (read(second, 'A')[i] as number), 5),
    );
    const alone = combineAdapters([first], { type: 'linear' });
    for (const [name, delta] of deltas({ files: alone }))
      expect(distance(weightedSum([first], name), delta)).toBeLessThan(1e-6);
  });

  it('says what cannot be combined', () => {
    expect(() => combineAdapters(adapters, { type: 'linear' })).toThrow('ranks 2, 3: linear needs equal ones');
    expect(() => combineAdapters([], { type: 'cat' })).toThrow('no adapters');
    const dora = {
      ...(adapters[0] as WeightedAdapter),
      files: {
        ...(adapters[0] as WeightedAdapter).files,
        config: { ...((adapters[0] as WeightedAdapter).files.config as LoraConfig), useDora: true },
      },
    };
    expect(() => combineAdapters([dora], { type: 'cat' })).toThrow('a: only plain LoRA adapters');
  });

  it('writes a config that names just these modules', () => {
    const [, b] = adapters as [WeightedAdapter, WeightedAdapter];
    const half = new Map([...b.files.tensors].filter(([key]) => key.includes('q_proj')));
    const files = combineAdapters([adapters[0] as WeightedAdapter, { ...b, files: { ...b.files, tensors: half } }], {
      type: 'cat',
    });
    const config = files.config as LoraConfig;
    expect(config.targetModules).toEqual(Object.keys(MODULES));
    const ranks = new Map(
      [...files.tensors].filter(([key]) => key.includes('lora_A')).map(([key, tensor]) => [key, tensor.shape[0]]),
    );
    expect([...ranks.values()].sort()).toEqual([2, 5]);
    for (const [module, delta] of deltas({ files }))
      expect(
        delta.some((value) => value !== 0),
        module,
      ).toBe(true);
  });
});
