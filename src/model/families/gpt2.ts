import { family } from './family.js';

/**
 * LayerNorm, learned positions, an MLP without gate, q, k and v in one layer; linear weights lie transposed.
 * Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
 */
export const gpt2 = family({
  modelType: 'gpt2',
  architecture: 'GPT2LMHeadModel',
  spellings: {
    hidden_size: 'n_embd',
    num_attention_heads: 'n_head',
    num_hidden_layers: 'n_layer',
    max_position_embeddings: 'n_positions',
    intermediate_size: 'n_inner',
    hidden_act: 'activation_function',
    rms_norm_eps: 'layer_norm_epsilon',
  },
  defaults: { tiedHead: true, activation: 'gelu_new', normEps: 1e-5, mlpRatio: 4 },
  fixed: { scale_attn_weights: true, scale_attn_by_inverse_layer_idx: false, add_cross_attention: false },
  norm: 'layer',
  positions: 'learned',
  weightLayout: 'conv1d',
  bias: () => ({ qkv: true, output: true, mlp: true }),
  modules: {
    base: 'transformer.',
    embedding: 'transformer.wte',
    positions: 'transformer.wpe',
    finalNorm: 'transformer.ln_f',
    head: 'lm_head',
    layer: (index) => `transformer.h.${index}`,
    attentionNorm: 'ln_1',
    mlpNorm: 'ln_2',
    sublayers: { attention: 'attn', mlp: 'mlp' },
    linears: { qkv: 'attn.c_attn', o: 'attn.c_proj', up: 'mlp.c_fc', down: 'mlp.c_proj' },
  },
});
