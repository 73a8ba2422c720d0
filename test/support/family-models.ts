import type { ModelType } from '../../src/model/families/registry.js';
import { TINY_CONFIG } from './tiny-model.js';

const NEOX = {
  ...TINY_CONFIG,
  model_type: 'gpt_neox',
  num_key_value_heads: undefined,
  rms_norm_eps: undefined,
  layer_norm_eps: 1e-5,
  hidden_act: 'gelu',
  rotary_pct: 0.5,
};

/** A config.json a family, and of a family more than one where it has two forms: a few thousand weights each. */
export const FAMILY_CONFIGS: readonly (readonly [
  name: string,
  config: Readonly<Record<string, unknown>> & { readonly model_type: ModelType },
])[] = [
  ['llama', { ...TINY_CONFIG, model_type: 'llama', attention_bias: true, mlp_bias: true }],
  ['mistral', { ...TINY_CONFIG, model_type: 'mistral', sliding_window: 5 }],
  ['qwen2', { ...TINY_CONFIG, model_type: 'qwen2', tie_word_embeddings: true }],
  ['qwen3', { ...TINY_CONFIG, model_type: 'qwen3', head_dim: 12 }],
  [
    'gpt2',
    {
      model_type: 'gpt2',
      n_embd: 32,
      n_head: 4,
      n_layer: 2,
      n_positions: 64,
      vocab_size: 32,
      bos_token_id: 1,
      eos_token_id: 2,
    },
  ],
  ['gpt_neox', { ...NEOX, model_type: 'gpt_neox' }],
  ['gpt_neox, one sublayer after the other', { ...NEOX, model_type: 'gpt_neox', use_parallel_residual: false }],
  ['phi', { ...TINY_CONFIG, model_type: 'phi', hidden_act: 'gelu_new' }],
  ['phi3', { ...TINY_CONFIG, model_type: 'phi3', sliding_window: 7 }],
  [
    'gemma',
    {
      ...TINY_CONFIG,
      model_type: 'gemma',
      head_dim: 12,
      num_key_value_heads: 1,
      tie_word_embeddings: true,
      hidden_activation: 'gelu_pytorch_tanh',
    },
  ],
];
