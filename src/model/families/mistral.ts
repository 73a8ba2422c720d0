import { family } from './family.js';

/** Llama with a sliding window. Jiang et al. 2023, arXiv:2310.06825. */
export const mistral = family({ modelType: 'mistral', architecture: 'MistralForCausalLM', windowByDefault: true });
