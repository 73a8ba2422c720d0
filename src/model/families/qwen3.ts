import { LLAMA_MODULES, type Family } from './family.js';

/** Llama with RMSNorm of q and k per head. Yang et al. 2025, arXiv:2505.09388. */
export const qwen3: Family = {
  modelType: 'qwen3',
  architecture: 'Qwen3ForCausalLM',
  tiedByDefault: false,
  windowByDefault: false,
  qkNorm: true,
  bias: (fields) => {
    const attention = fields.flag('attention_bias', false);
    return { qkv: attention, output: attention, mlp: false };
  },
  modules: LLAMA_MODULES,
};
