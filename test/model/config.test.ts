import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseModelConfig } from '../../src/model/config.js';
import { ropeFrequencies } from '../../src/model/rope.js';
import { HAS_SHARED, SHARED } from '../support/goldens.js';
import { TINY_CONFIG } from '../support/tiny-model.js';

describe('parseModelConfig', () => {
  it.skipIf(!HAS_SHARED).each(['llama', 'llama3_tied', 'mistral', 'qwen2', 'qwen3'])('reads %s alike in the spelling of transformers 4 and 5', (name) => {
    const read = (file: string): unknown => JSON.parse(readFileSync(join(SHARED, 'reference/transformers-peft', name, file), 'utf8'));
    expect(existsSync(join(SHARED, 'reference/transformers-peft', name, 'config.v4.json'))).toBe(true);
    const [five, four] = [parseModelConfig(read('config.json')), parseModelConfig(read('config.v4.json'))];
    expect({ ...four, family: four.family.modelType }).toEqual({ ...five, family: five.family.modelType });
  });

  it('takes what older files leave out from the architecture', () => {
    const config = parseModelConfig({ ...TINY_CONFIG, num_key_value_heads: undefined, rope_theta: undefined });
    expect(config.numKvHeads).toBe(4);
    expect(config.headDim).toBe(8);
    expect(config.rope).toEqual({ theta: 10000, rotaryDim: 8, scaling: { type: 'default' } });
  });

  it('gives each layer its window', () => {
    const mistral = parseModelConfig({ ...TINY_CONFIG, model_type: 'mistral', sliding_window: 12 });
    expect(mistral.windows).toEqual([12, 12]);
    expect(parseModelConfig({ ...TINY_CONFIG, model_type: 'mistral', sliding_window: null }).windows).toEqual([undefined, undefined]);
    const qwen = { ...TINY_CONFIG, model_type: 'qwen2', sliding_window: 16, max_window_layers: 1 };
    expect(parseModelConfig({ ...qwen, use_sliding_window: true }).windows).toEqual([undefined, 16]);
    expect(parseModelConfig({ ...qwen, use_sliding_window: false }).windows).toEqual([undefined, undefined]);
    const typed = { ...qwen, use_sliding_window: true, layer_types: ['sliding_attention', 'full_attention'] };
    expect(parseModelConfig(typed).windows).toEqual([16, undefined]);
  });

  it('lists everything that is wrong, with the file’s name', () => {
    const absurd = { ...TINY_CONFIG, hidden_size: 2 ** 53, num_hidden_layers: -1, vocab_size: '32', rope_scaling: { rope_type: 'yarn' } };
    const parse = (): unknown => parseModelConfig(absurd, 'm/config.json');
    for (const part of [/^m\/config\.json: /, /hidden_size: found 9007199254740992/, /num_hidden_layers: found -1/, /vocab_size: found "32"/, /rope_scaling\.rope_type: found "yarn"/]) expect(parse).toThrow(part);
  });

  it('names the families it knows', () => {
    expect(() => parseModelConfig({ ...TINY_CONFIG, model_type: 'bert' })).toThrow(/model_type: found "bert", allowed one of llama, mistral, qwen2, qwen3/);
    expect(() => parseModelConfig([])).toThrow('must be a JSON object');
  });

  it('scales frequencies as Llama 3 does: long waves are slowed, short ones kept, those between blended', () => {
    const scaling = { type: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 64 } as const;
    const plain = ropeFrequencies({ theta: 500000, rotaryDim: 16, scaling: { type: 'default' } });
    const scaled = ropeFrequencies({ theta: 500000, rotaryDim: 16, scaling });
    const ratios = Array.from(plain, (f, i) => f / (scaled[i] as number));
    expect(ratios[0]).toBe(1);
    expect(ratios.at(-1)).toBeCloseTo(8, 5);
    expect(ratios.every((ratio, i) => ratio >= 1 && ratio <= 8.00001 && (i === 0 || ratio >= (ratios[i - 1] as number) - 1e-6))).toBe(true);
  });
});
