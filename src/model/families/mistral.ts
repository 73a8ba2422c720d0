import { LLAMA_MODULES, type Family } from './family.js';

/** Llama with a sliding window. Jiang et al. 2023, arXiv:2310.06825. */
export const mistral: Family = {
  modelType: 'mistral',
  architecture: 'MistralForCausalLM',
  tiedByDefault: false,
  windowByDefault: true,
  qkNorm: false,
  bias: () => ({ qkv: false, output: false, mlp: false }),
  modules: LLAMA_MODULES,
};
