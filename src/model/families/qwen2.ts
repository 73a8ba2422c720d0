import { family } from './family.js';

/** Llama with a bias on q, k and v (Qwen2 and Qwen2.5). Yang et al. 2024, arXiv:2407.10671. */
export const qwen2 = family({
  modelType: 'qwen2',
  architecture: 'Qwen2ForCausalLM',
  bias: () => ({ qkv: true, output: false, mlp: false }),
});
