import { family } from './family.js';

/** Touvron et al. 2023, arXiv:2302.13971; Llama 3 differs by its RoPE scaling, which config.json states. */
export const llama = family({
  modelType: 'llama',
  architecture: 'LlamaForCausalLM',
  bias: (fields) => {
    const attention = fields.flag('attention_bias', false);
    return { qkv: attention, output: attention, mlp: fields.flag('mlp_bias', false) };
  },
});
