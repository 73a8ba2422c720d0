import { LLAMA_MODULES, type Family } from './family.js';

/** Llama with a bias on q, k and v (Qwen2 and Qwen2.5). Yang et al. 2024, arXiv:2407.10671. */
export const qwen2: Family = {
  modelType: 'qwen2',
  architecture: 'Qwen2ForCausalLM',
  tiedByDefault: false,
  windowByDefault: false,
  qkNorm: false,
  bias: () => ({ qkv: true, output: false, mlp: false }),
  modules: LLAMA_MODULES,
};
