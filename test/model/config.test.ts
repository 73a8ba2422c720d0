import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseModelConfig } from '../../src/model/config.js';
import { ropeFrequencies } from '../../src/model/rope.js';
import { itReferences, referencePath } from '../support/references.js';
import { TINY_CONFIG } from '../support/tiny-model.js';

describe('parseModelConfig', () => {
  for (const name of [
    'llama',
    'llama3_tied',
    'mistral',
    'qwen2',
    'qwen3',
    'gpt2',
    'gpt_neox',
    'phi',
    'phi3',
    'gemma',
  ]) {
    const folder = `reference/transformers-peft/${name}`;
    itReferences(`reads ${name} alike in the spelling of transformers 4 and 5`, folder, () => {
      const read = (file: string): unknown => JSON.parse(readFileSync(referencePath(`${folder}/${file}`), 'utf8'));
      const [five, four] = [parseModelConfig(read('config.json')), parseModelConfig(read('config.v4.json'))];
      expect({ ...four, family: four.family.modelType }).toEqual({ ...five, family: five.family.modelType });
    });
  }

  it('reads the files of the first releases, which leave out what is usual', () => {
    const gpt2 = parseModelConfig({
      ...{
        model_type: 'gpt2',
        activation_function: 'gelu_new',
        n_ctx: 1024,
        n_embd: 768,
        n_head: 12,
        n_layer: 12,
        n_positions: 1024,
      },
      ...{
        layer_norm_epsilon: 1e-5,
        bos_token_id: 50256,
        eos_token_id: 50256,
        vocab_size: 50257,
        summary_type: 'cls_index',
      },
    });
    expect(gpt2).toMatchObject({
      hiddenSize: 768,
      intermediateSize: 3072,
      numKvHeads: 12,
      headDim: 64,
      maxPositions: 1024,
      activation: 'gelu_tanh',
      tiedHead: true,
      rope: undefined,
    });
    const pythia = parseModelConfig({
      ...{
        model_type: 'gpt_neox',
        hidden_act: 'gelu',
        hidden_size: 512,
        intermediate_size: 2048,
        layer_norm_eps: 1e-5,
        max_position_embeddings: 2048,
      },
      ...{
        num_attention_heads: 8,
        num_hidden_layers: 6,
        rotary_emb_base: 20000,
        rotary_pct: 0.5,
        use_parallel_residual: false,
        vocab_size: 50304,
      },
    });
    expect(pythia).toMatchObject({
      rope: { theta: 20000, rotaryDim: 32 },
      parallelResidual: false,
      tiedHead: false,
      activation: 'gelu',
      bias: { qkv: true, output: true, mlp: true },
    });
    const gemma = parseModelConfig({
      ...{
        model_type: 'gemma',
        hidden_act: 'gelu',
        hidden_activation: null,
        hidden_size: 2048,
        head_dim: 256,
        intermediate_size: 16384,
      },
      ...{
        num_attention_heads: 8,
        num_hidden_layers: 18,
        num_key_value_heads: 1,
        rms_norm_eps: 1e-6,
        max_position_embeddings: 8192,
        vocab_size: 256000,
      },
    });
    expect(gemma).toMatchObject({ activation: 'gelu_tanh', tiedHead: true, headDim: 256 });
    const phi3 = { ...TINY_CONFIG, model_type: 'phi3', sliding_window: 16 };
    expect(parseModelConfig(phi3)).toMatchObject({ windows: [16, 16], tiedHead: false });
  });

  it('names a setting that is not implemented rather than computing something else', () => {
    const gpt2 = { model_type: 'gpt2', n_embd: 32, n_head: 4, n_layer: 2, n_positions: 64, vocab_size: 32 };
    const tried: [Record<string, unknown>, string][] = [
      [
        { ...gpt2, scale_attn_by_inverse_layer_idx: true },
        'scale_attn_by_inverse_layer_idx: found true, allowed only false',
      ],
      [{ ...gpt2, scale_attn_weights: false }, 'scale_attn_weights: found false, allowed only true'],
      [{ ...gpt2, add_cross_attention: true }, 'add_cross_attention: found true'],
      [{ ...gpt2, n_embd: 'wide' }, 'n_embd: found "wide"'],
      [{ ...gpt2, activation_function: 'quick_gelu' }, 'activation_function: found "quick_gelu"'],
      [{ ...TINY_CONFIG, model_type: 'phi', qk_layernorm: true }, 'qk_layernorm: found true, allowed only false'],
      [
        { ...TINY_CONFIG, model_type: 'phi3', rope_scaling: { type: 'longrope', short_factor: [1], long_factor: [1] } },
        'rope_scaling.type: found "longrope"',
      ],
      [
        { ...TINY_CONFIG, model_type: 'gemma', use_bidirectional_attention: true },
        'use_bidirectional_attention: found true',
      ],
      [
        { ...TINY_CONFIG, model_type: 'gpt_neox', rotary_pct: 0.1 },
        'head_dim: found 8, allowed a size whose rotated part is even, at least 2',
      ],
    ];
    for (const [json, message] of tried) expect(() => parseModelConfig(json)).toThrow(message);
  });

  it.each([
    [{ quant_method: 'gptq', bits: 4 }, 'found "gptq"'],
    [{ quant_method: 'awq' }, 'found "awq"'],
    [{ quant_method: 'fp8' }, 'found "fp8"'],
    [{ quant_method: 'mxfp4' }, 'found "mxfp4"'],
    [{ quant_method: 'compressed-tensors' }, 'found "compressed-tensors"'],
    [{ quant_method: 'bitsandbytes', load_in_8bit: true }, 'found bitsandbytes in 8 bits (LLM.int8)'],
    [{ load_in_8bit: true }, 'found bitsandbytes in 8 bits (LLM.int8)'],
  ])('names a quantisation that is not read: %j', (quantization, found) => {
    const message = `config.json: quantization_config: ${found}, allowed bitsandbytes in 4 bits: give the float model`;
    expect(() => parseModelConfig({ ...TINY_CONFIG, quantization_config: quantization })).toThrow(message);
    expect(() =>
      parseModelConfig({ ...TINY_CONFIG, model_type: 'gpt_oss', quantization_config: quantization }),
    ).toThrow(message);
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
    expect(parseModelConfig({ ...TINY_CONFIG, model_type: 'mistral', sliding_window: null }).windows).toEqual([
      undefined,
      undefined,
    ]);
    const qwen = { ...TINY_CONFIG, model_type: 'qwen2', sliding_window: 16, max_window_layers: 1 };
    expect(parseModelConfig({ ...qwen, use_sliding_window: true }).windows).toEqual([undefined, 16]);
    expect(parseModelConfig({ ...qwen, use_sliding_window: false }).windows).toEqual([undefined, undefined]);
    const typed = { ...qwen, use_sliding_window: true, layer_types: ['sliding_attention', 'full_attention'] };
    expect(parseModelConfig(typed).windows).toEqual([16, undefined]);
  });

  it('lists everything that is wrong, with the file’s name', () => {
    const absurd = {
      ...TINY_CONFIG,
      hidden_size: 2 ** 53,
      num_hidden_layers: -1,
      vocab_size: '32',
      rope_scaling: { rope_type: 'yarn' },
    };
    const parse = (): unknown => parseModelConfig(absurd, 'm/config.json');
    for (const part of [
      /^m\/config\.json: /,
      /hidden_size: found 9007199254740992/,
      /num_hidden_layers: found -1/,
      /vocab_size: found "32"/,
      /rope_scaling\.rope_type: found "yarn"/,
    ])
      expect(parse).toThrow(part);
  });

  it('names the families it knows', () => {
    expect(() => parseModelConfig({ ...TINY_CONFIG, model_type: 'bert' })).toThrow(
      /model_type: found "bert", allowed one of llama, mistral, qwen2, qwen3, gpt2, gpt_neox, phi, phi3, gemma/,
    );
    expect(() => parseModelConfig([])).toThrow('must be a JSON object');
  });

  it('scales frequencies as Llama 3 does: long waves are slowed, short ones kept, those between blended', () => {
    const scaling = {
      type: 'llama3',
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositions: 64,
    } as const;
    const plain = ropeFrequencies({ theta: 500000, rotaryDim: 16, scaling: { type: 'default' } });
    const scaled = ropeFrequencies({ theta: 500000, rotaryDim: 16, scaling });
    const ratios = Array.from(plain, (f, i) => f / (scaled[i] as number));
    expect(ratios[0]).toBe(1);
    expect(ratios.at(-1)).toBeCloseTo(8, 5);
    expect(
      ratios.every(
        (ratio, i) => ratio >= 1 && ratio <= 8.00001 && (i === 0 || ratio >= (ratios[i - 1] as number) - 1e-6),
      ),
    ).toBe(true);
    // The formula in NumPy, in float32.
    const expected = [
      1, 0.07940301299095154, 0.004700753837823868, 0.0009115831344388425, 0.00017677668074611574, 3.428102354519069e-5,
      6.647870577580761e-6, 1.289173155782919e-6,
    ];
    scaled.forEach((frequency, i) => expect(Math.abs(frequency / (expected[i] as number) - 1)).toBeLessThan(1e-6));
  });
});
