/** How llama.cpp's converter orders the output rows of a weight, where it does not keep Hugging Face's order. */
export type RowOrder =
  /**
   * Query and key of models that rotate halves of a head: llama.cpp rotates neighbours, so rows i and i + d/2 come side
   * by side.
   */
  | 'query-pairs'
  | 'key-pairs'
  /** Fused qkv stored head by head becomes all queries, all keys, all values. */
  | 'heads-to-qkv';

/** How llama.cpp calls a family of models and its tensors. */
export interface GgufArchitecture {
  readonly name: string;
  /** What stands before the number of a layer in a module path. */
  readonly layers: string;
  /** Module path in a layer to the tensor's name in `blk.N.`. */
  readonly linears: Readonly<Record<string, string>>;
  readonly rows: Readonly<Record<string, RowOrder>>;
  readonly head: string;
  /** What adapters called the head that were made before transformers 5. */
  readonly storedHead?: string;
  /** Whether the output layer is the embedding where config.json does not say. */
  readonly tiedByDefault: boolean;
}

const LLAMA_LINEARS = {
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
};

const like = (name: string, changes: Partial<GgufArchitecture> = {}): GgufArchitecture => ({
  name,
  layers: 'model.layers.',
  linears: LLAMA_LINEARS,
  rows: {},
  head: 'lm_head',
  tiedByDefault: false,
  ...changes,
});

const LLAMA = like('llama', { rows: { 'self_attn.q_proj': 'query-pairs', 'self_attn.k_proj': 'key-pairs' } });

/** By `model_type` of config.json. Names as in llama.cpp's tensor_mapping.py; row orders as in its converters. */
export const ARCHITECTURES: Readonly<Record<string, GgufArchitecture>> = {
  llama: LLAMA,
  mistral: LLAMA,
  qwen2: like('qwen2'),
  qwen3: like('qwen3'),
  gemma: like('gemma', { tiedByDefault: true }),
  gemma2: like('gemma2', { tiedByDefault: true }),
  gemma3_text: like('gemma3', { tiedByDefault: true }),
  phi3: like('phi3', {
    linears: {
      'self_attn.qkv_proj': 'attn_qkv',
      'self_attn.o_proj': 'attn_output',
      'mlp.gate_up_proj': 'ffn_up',
      'mlp.down_proj': 'ffn_down',
    },
  }),
  phi: like('phi2', {
    linears: {
      'self_attn.q_proj': 'attn_q',
      'self_attn.k_proj': 'attn_k',
      'self_attn.v_proj': 'attn_v',
      'self_attn.dense': 'attn_output',
      'mlp.fc1': 'ffn_up',
      'mlp.fc2': 'ffn_down',
    },
  }),
  gpt2: like('gpt2', {
    layers: 'transformer.h.',
    linears: {
      'attn.c_attn': 'attn_qkv',
      'attn.c_proj': 'attn_output',
      'mlp.c_fc': 'ffn_up',
      'mlp.c_proj': 'ffn_down',
    },
    tiedByDefault: true,
  }),
  gpt_neox: like('gptneox', {
    layers: 'gpt_neox.layers.',
    linears: {
      'attention.query_key_value': 'attn_qkv',
      'attention.dense': 'attn_output',
      'mlp.dense_h_to_4h': 'ffn_up',
      'mlp.dense_4h_to_h': 'ffn_down',
    },
    rows: { 'attention.query_key_value': 'heads-to-qkv' },
    storedHead: 'embed_out',
  }),
};
