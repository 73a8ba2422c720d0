import { family, LLAMA_MODULES } from './family.js';

/**
 * Phi-3, Phi-3.5 mini and Phi-4: Llama with q, k and v in one layer, gate and up in another. Abdin et al. 2024,
 * arXiv:2404.14219.
 */
export const phi3 = family({
  modelType: 'phi3',
  architecture: 'Phi3ForCausalLM',
  defaults: { normEps: 1e-5 },
  windowByDefault: true,
  modules: {
    ...LLAMA_MODULES,
    linears: { qkv: 'self_attn.qkv_proj', o: 'self_attn.o_proj', gateUp: 'mlp.gate_up_proj', down: 'mlp.down_proj' },
  },
});
