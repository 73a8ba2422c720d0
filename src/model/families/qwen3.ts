import { family, LLAMA_MODULES } from './family.js';

/** Llama with RMSNorm of q and k per head. Yang et al. 2025, arXiv:2505.09388. */
export const qwen3 = family({
  modelType: 'qwen3',
  architecture: 'Qwen3ForCausalLM',
  bias: (fields) => {
    const attention = fields.flag('attention_bias', false);
    return { qkv: attention, output: attention, mlp: false };
  },
  modules: { ...LLAMA_MODULES, queryNorm: 'self_attn.q_norm', keyNorm: 'self_attn.k_norm' },
});
