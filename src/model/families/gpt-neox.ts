import { family } from './family.js';

/**
 * Pythia and relatives: attention and MLP side by side, RoPE on a part of each head. Black et al. 2022,
 * arXiv:2204.06745.
 */
export const gptNeox = family({
  modelType: 'gpt_neox',
  architecture: 'GPTNeoXForCausalLM',
  spellings: { rms_norm_eps: 'layer_norm_eps', rope_theta: 'rotary_emb_base', partial_rotary_factor: 'rotary_pct' },
  defaults: { activation: 'gelu', normEps: 1e-5, partialRotary: 0.25 },
  norm: 'layer',
  qkvOrder: 'heads',
  bias: (fields) => {
    const attention = fields.flag('attention_bias', true);
    return { qkv: attention, output: attention, mlp: true };
  },
  parallelResidual: (fields) => fields.flag('use_parallel_residual', true),
  modules: {
    base: 'gpt_neox.',
    embedding: 'gpt_neox.embed_in',
    finalNorm: 'gpt_neox.final_layer_norm',
    head: 'lm_head',
    storedHead: 'embed_out',
    layer: (index) => `gpt_neox.layers.${index}`,
    attentionNorm: 'input_layernorm',
    mlpNorm: 'post_attention_layernorm',
    sublayers: { attention: 'attention', mlp: 'mlp' },
    linears: {
      qkv: 'attention.query_key_value',
      o: 'attention.dense',
      up: 'mlp.dense_h_to_4h',
      down: 'mlp.dense_4h_to_h',
    },
  },
});
