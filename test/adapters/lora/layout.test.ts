import { describe, expect, it } from 'vitest';
import { loraMismatches, loraTensors } from '../../../src/adapters/lora/tensor-shapes.js';
import { loraLayout } from '../../../src/adapters/lora/layout.js';
import { withTokenRows } from '../../../src/adapters/lora/token-indices.js';
import { parseLoraConfig, serializeLoraConfig, type LoraConfig } from '../../../src/adapters/lora/config.js';
import { matchTargets } from '../../../src/adapters/lora/targets.js';
import { parseModelConfig } from '../../../src/model/config.js';
import { TINY_CONFIG } from '../../support/tiny-model.js';

const MODEL = parseModelConfig(TINY_CONFIG);
const TIED = parseModelConfig({ ...TINY_CONFIG, tie_word_embeddings: true });
const PLAIN: LoraConfig = {
  ...{
    peftType: 'LORA',
    r: 4,
    loraAlpha: 8,
    loraDropout: 0,
    targetModules: ['q_proj'],
    useRslora: false,
    rankPattern: {},
    alphaPattern: {},
  },
  ...{ initLoraWeights: true, baseModel: undefined, revision: undefined },
};
const updated = (config: Partial<LoraConfig>, model = MODEL): string[] =>
  loraLayout(model, { ...PLAIN, ...config }).updates.map(({ module }) => module);

describe('which modules get an adapter', () => {
  const names = ['m.layers.0.experts.3.up', 'm.layers.1.experts.0.up', 'm.blocks.7.layers.0.up', 'up'];

  it('takes the first number of a path for the layer, or that behind the named list', () => {
    expect(matchTargets(names, ['up'], { layers: 0 })).toEqual([names[0]]);
    expect(matchTargets(names, ['up'], { layers: [1, 7] })).toEqual([names[1], names[2]]);
    expect(matchTargets(names, ['up'], { layers: [0], layersPattern: 'layers' })).toEqual([names[0], names[2]]);
    expect(matchTargets(names, ['up'], { layers: [7], layersPattern: ['stacks', 'blocks'] })).toEqual([names[2]]);
    expect(matchTargets(names, 'all-linear', { layers: [1] })).toEqual([names[1]]);
  });

  it('leaves out what is excluded, by ending or expression', () => {
    expect(matchTargets(names, ['up'], { exclude: ['0.up'] })).toEqual(
      [names[0], names[3]].filter((name) => name !== undefined && !name.endsWith('.0.up')),
    );
    expect(matchTargets(names, ['up'], { exclude: String.raw`m\.layers\..*` })).toEqual([names[2], names[3]]);
    expect(() => matchTargets(names, ['up'], { exclude: ['up'] })).toThrow(
      /exclude_modules leave none of the 4 layers/,
    );
    expect(() => matchTargets(names, ['up'], { layers: [9] })).toThrow(/layers_to_transform leave none/);
    expect(() => matchTargets(names, ['up'], { exclude: '(' })).toThrow(
      /exclude_modules: "\(" is no regular expression/,
    );
    expect(() => matchTargets(names, '.*up', { layers: [0] })).toThrow(/goes with a list of target_modules/);
    expect(() => matchTargets(names, ['up'], { layersPattern: 'layers' })).toThrow(/needs layers_to_transform/);
  });

  it('reaches embedding and output layer by their names alone', () => {
    expect(updated({ targetModules: 'all-linear' })).toHaveLength(14);
    expect(updated({ targetModules: ['q_proj', 'embed_tokens', 'lm_head'] }).slice(-2)).toEqual([
      'model.embed_tokens',
      'lm_head',
    ]);
    expect(loraLayout(TIED, { ...PLAIN, targetModules: ['lm_head'] }).updates).toMatchObject([
      { kind: 'head', inFeatures: 32, outFeatures: 32 },
    ]);
  });

  it('gives no adapter to what is trained whole, and matches names of that at their end', () => {
    const { updates, copies } = loraLayout(MODEL, {
      ...PLAIN,
      targetModules: ['q_proj', 'lm_head'],
      modulesToSave: ['lm_head', 'norm', 'layers.1.self_attn.q_proj'],
    });
    expect(updates.map(({ module }) => module)).toEqual(['model.layers.0.self_attn.q_proj']);
    expect(copies.map(({ module }) => module).sort()).toEqual([
      'lm_head',
      'model.layers.0.input_layernorm',
      'model.layers.0.post_attention_layernorm',
      'model.layers.1.input_layernorm',
      'model.layers.1.post_attention_layernorm',
      'model.layers.1.self_attn.q_proj',
      'model.norm',
    ]);
    expect(() => loraLayout(MODEL, { ...PLAIN, modulesToSave: ['score'] })).toThrow(
      /modules_to_save: no module is called "score"/,
    );
  });

  it('has ranks and scales of their own by pattern', () => {
    const { updates } = loraLayout(MODEL, {
      ...PLAIN,
      targetModules: ['q_proj', 'v_proj'],
      rankPattern: { 'layers.0.self_attn.q_proj': 2 },
      alphaPattern: { v_proj: 16 },
      useRslora: true,
    });
    expect(updates.map(({ rank, scale }) => [rank, scale])).toEqual([
      [2, 8 / Math.SQRT2],
      [4, 8],
      [4, 4],
      [4, 8],
    ]);
  });
});

describe('trained rows', () => {
  const rows = (
    trainableTokenIndices: LoraConfig['trainableTokenIndices'],
    model = MODEL,
  ): ReturnType<typeof loraLayout>['rows'] =>
    loraLayout(model, { ...PLAIN, ...(trainableTokenIndices === undefined ? {} : { trainableTokenIndices }) }).rows;

  it('are the embedding’s, and a tied output layer’s with them', () => {
    expect(rows([3, 1])).toEqual([{ module: 'model.embed_tokens', kind: 'embedding', indices: [3, 1] }]);
    expect(rows([3, 1], TIED).map(({ kind }) => kind)).toEqual(['embedding', 'head']);
    expect([...loraTensors(TIED, { ...PLAIN, trainableTokenIndices: [3, 1] })].at(-1)).toEqual([
      'base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta',
      [2, 32],
    ]);
    expect(
      loraTensors(TIED, { ...PLAIN, trainableTokenIndices: { lm_head: [3] } }).has(
        'base_model.model.lm_head.token_adapter.trainable_tokens_delta',
      ),
    ).toBe(true);
  });

  it('must be distinct, leave no gap behind the vocabulary, and not be trained another way too', () => {
    expect(() => rows([1, 1])).toThrow(/a row stands there twice/);
    expect(() => rows([33], TIED)).toThrow(/must follow it without a gap, found 33/);
    expect(() => rows([32])).toThrow(/both grow by them/);
    expect(() => rows({ wte: [1] })).toThrow(/found "wte", allowed model\.embed_tokens and lm_head/);
    expect(() => rows({ embed_tokens: [1], lm_head: [2] }, TIED)).toThrow(/are one table/);
    expect(() => loraLayout(MODEL, { ...PLAIN, targetModules: ['embed_tokens'], trainableTokenIndices: [1] })).toThrow(
      /model\.embed_tokens, [^:]*is in target_modules too/,
    );
    expect(() => loraLayout(MODEL, { ...PLAIN, modulesToSave: ['embed_tokens'], trainableTokenIndices: [1] })).toThrow(
      /is in modules_to_save too/,
    );
  });

  it('of added tokens join those that were asked for', () => {
    expect(withTokenRows(TIED, undefined, [32, 33])).toEqual([32, 33]);
    expect(withTokenRows(TIED, { embed_tokens: [4] }, [32])).toEqual([4, 32]);
    expect(withTokenRows(MODEL, [9, 2], [32])).toEqual({ embed_tokens: [2, 9, 32], lm_head: [32] });
  });
});

describe('the files', () => {
  it('have PEFT’s keys and shapes', () => {
    const config: LoraConfig = {
      ...PLAIN,
      useDora: true,
      targetModules: ['k_proj', 'embed_tokens', 'lm_head'],
      modulesToSave: ['model.norm'],
    };
    expect([...loraTensors(MODEL, config)].filter(([key]) => !key.includes('layers.1'))).toEqual([
      ['base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight', [4, 32]],
      ['base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight', [16, 4]],
      ['base_model.model.model.layers.0.self_attn.k_proj.lora_magnitude_vector', [16]],
      ['base_model.model.model.embed_tokens.lora_embedding_A', [4, 32]],
      ['base_model.model.model.embed_tokens.lora_embedding_B', [32, 4]],
      ['base_model.model.model.embed_tokens.lora_magnitude_vector', [32]],
      ['base_model.model.lm_head.lora_A.weight', [4, 32]],
      ['base_model.model.lm_head.lora_B.weight', [32, 4]],
      ['base_model.model.lm_head.lora_magnitude_vector', [32]],
      ['base_model.model.model.norm.weight', [32]],
    ]);
  });

  it('may hold the untouched base weights that PEFT puts beside an embedding’s adapter', () => {
    const config = { ...PLAIN, targetModules: ['embed_tokens'] };
    const shapes = new Map([...loraTensors(MODEL, config)].map(([key, shape]) => [key, { shape }]));
    shapes.set('base_model.model.model.embed_tokens.base_layer.weight', { shape: [32, 32] });
    expect(loraMismatches(MODEL, config, shapes)).toEqual([]);
    shapes.set('base_model.model.model.norm.weight', { shape: [32] });
    expect(loraMismatches(MODEL, config, shapes)).toHaveLength(1);
  });

  it('say in adapter_config.json what the adapter is, and are read as written', () => {
    const config: LoraConfig = {
      ...PLAIN,
      ...{
        useDora: true,
        rankPattern: { q_proj: 2 },
        alphaPattern: { q_proj: 3 },
        excludeModules: ['o_proj'],
        layersToTransform: [0, 2],
        layersPattern: 'layers',
      },
      ...{
        modulesToSave: ['lm_head'],
        trainableTokenIndices: { embed_tokens: [1, 2] },
        initLoraWeights: 'loftq',
        loftqConfig: { loftq_bits: 4, loftq_iter: 3 },
      },
    };
    const json = JSON.parse(serializeLoraConfig(config)) as Record<string, unknown>;
    expect(json).toMatchObject({
      ...{
        use_dora: true,
        rank_pattern: { q_proj: 2 },
        alpha_pattern: { q_proj: 3 },
        exclude_modules: ['o_proj'],
        layers_to_transform: [0, 2],
        layers_pattern: 'layers',
      },
      ...{
        modules_to_save: ['lm_head'],
        trainable_token_indices: { embed_tokens: [1, 2] },
        init_lora_weights: true,
        loftq_config: {},
      },
    });
    // PEFT would quantise the base once more: where LoftQ is told, see provenance.test.ts.
    expect(
      parseLoraConfig({ ...json, init_lora_weights: 'loftq', loftq_config: { loftq_bits: 4, loftq_iter: 3 } }),
    ).toEqual(config);
    expect(JSON.parse(serializeLoraConfig(PLAIN))).toMatchObject({
      loftq_config: {},
      modules_to_save: null,
      trainable_token_indices: null,
      layers_to_transform: null,
      use_dora: false,
    });
    expect(() => parseLoraConfig({ ...json, init_lora_weights: 'olora' })).toThrow(
      /init_lora_weights: "olora" is not supported/,
    );
    expect(() => parseLoraConfig({ ...json, loftq_config: { loftq_bits: 8 } })).toThrow(/loftq_config/);
  });
});
