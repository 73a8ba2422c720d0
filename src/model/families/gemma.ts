import { family } from './family.js';

/**
 * Gemma 1: embeddings times √hidden, norms that multiply by 1 + w, a GELU gate. Mesnard et al. 2024, arXiv:2403.08295.
 */
export const gemma = family({
  modelType: 'gemma',
  architecture: 'GemmaForCausalLM',
  spellings: { hidden_act: 'hidden_activation' },
  defaults: { tiedHead: true, activation: 'gelu_pytorch_tanh' },
  fixed: { use_bidirectional_attention: false },
  // The first files said `gelu` and meant the approximation that the models were trained with.
  activations: { gelu: 'gelu_tanh' },
  normOffset: 1,
  scaledEmbedding: true,
  bias: (fields) => {
    const attention = fields.flag('attention_bias', false);
    return { qkv: attention, output: attention, mlp: false };
  },
});
