import type { Fields } from '../fields.js';

/** Linear layers of a decoder layer, by the part they play. */
export const LINEAR_ROLES = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const;
export type LinearRole = (typeof LINEAR_ROLES)[number];

/** What tells one model family from another. Adding a family is adding one of these and what is truly its own. */
export interface Family {
  readonly modelType: string;
  /** Class names that config.json carries under `architectures`. */
  readonly architecture: string;
  readonly tiedByDefault: boolean;
  /** Whether a `sliding_window` in the file is in force without `use_sliding_window`. */
  readonly windowByDefault: boolean;
  /** RMSNorm of q and k per head before RoPE. */
  readonly qkNorm: boolean;
  readonly bias: (fields: Fields) => { qkv: boolean; output: boolean; mlp: boolean };
  /** Module paths as in the checkpoint; a layer's parts are relative to `layer(i)`. */
  readonly modules: {
    readonly embedding: string;
    readonly finalNorm: string;
    readonly head: string;
    readonly layer: (index: number) => string;
    readonly attentionNorm: string;
    readonly mlpNorm: string;
    readonly sublayers: { readonly attention: string; readonly mlp: string };
    readonly linears: Readonly<Record<LinearRole, string>>;
    readonly queryNorm: string;
    readonly keyNorm: string;
  };
}

/** The module paths that Llama introduced and its relatives kept. */
export const LLAMA_MODULES: Family['modules'] = {
  embedding: 'model.embed_tokens',
  finalNorm: 'model.norm',
  head: 'lm_head',
  layer: (index) => `model.layers.${index}`,
  attentionNorm: 'input_layernorm',
  mlpNorm: 'post_attention_layernorm',
  sublayers: { attention: 'self_attn', mlp: 'mlp' },
  linears: {
    q: 'self_attn.q_proj',
    k: 'self_attn.k_proj',
    v: 'self_attn.v_proj',
    o: 'self_attn.o_proj',
    gate: 'mlp.gate_proj',
    up: 'mlp.up_proj',
    down: 'mlp.down_proj',
  },
  queryNorm: 'self_attn.q_norm',
  keyNorm: 'self_attn.k_norm',
};
