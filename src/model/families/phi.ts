import { family, LLAMA_MODULES } from './family.js';

/**
 * Phi-1, Phi-1.5 and Phi-2: attention and MLP side by side behind one norm, a bias on every layer. Li et al. 2023,
 * arXiv:2309.05463.
 */
export const phi = family({
  modelType: 'phi',
  architecture: 'PhiForCausalLM',
  spellings: { rms_norm_eps: 'layer_norm_eps' },
  defaults: { activation: 'gelu_new', normEps: 1e-5, partialRotary: 0.5 },
  fixed: { qk_layernorm: false },
  norm: 'layer',
  headBias: true,
  bias: () => ({ qkv: true, output: true, mlp: true }),
  parallelResidual: () => true,
  modules: {
    ...LLAMA_MODULES,
    mlpNorm: undefined,
    finalNorm: 'model.final_layernorm',
    linears: {
      q: 'self_attn.q_proj',
      k: 'self_attn.k_proj',
      v: 'self_attn.v_proj',
      o: 'self_attn.dense',
      up: 'mlp.fc1',
      down: 'mlp.fc2',
    },
  },
});
