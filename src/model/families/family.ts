import type { Activation } from '../../../kernels/index.js';
import type { Fields } from '../fields.js';

/** Activations by the names that config.json has for them. */
export const ACTIVATIONS = {
  ...{ silu: 'silu', swish: 'silu', gelu: 'gelu', relu: 'relu' },
  ...{ gelu_new: 'gelu_tanh', gelu_fast: 'gelu_tanh', gelu_pytorch_tanh: 'gelu_tanh' },
} as const satisfies Record<string, Activation>;
export type ActivationName = keyof typeof ACTIVATIONS;

/**
 * Linear layers of a decoder layer, by the part they play. `qkv` is q, k and v in one layer, `gateUp` gate and up; an
 * MLP without a gate has `up` and `down` alone.
 */
export type LinearRole = 'q' | 'k' | 'v' | 'qkv' | 'o' | 'gate' | 'up' | 'gateUp' | 'down';

/**
 * Module paths as transformers has them, and PEFT matches them, which are those of the checkpoint but for the head's; a
 * layer's parts are relative to `layer(i)`.
 */
export interface ModulePaths {
  /** In front of all but the head; a checkpoint of the model without its head may leave it out. */
  readonly base: string;
  readonly embedding: string;
  /** Table of learned positions. */
  readonly positions?: string;
  readonly finalNorm: string;
  readonly head: string;
  /** What checkpoints call the head, where that is not the module's own name; both are read. */
  readonly storedHead?: string;
  readonly layer: (index: number) => string;
  readonly attentionNorm: string;
  /** Without one, the MLP reads what attention's norm gives. */
  readonly mlpNorm: string | undefined;
  /** Norms of q and k per head, before RoPE. */
  readonly queryNorm?: string;
  readonly keyNorm?: string;
  readonly sublayers: { readonly attention: string; readonly mlp: string };
  /** The linear layers that there are, in the order in which they run. */
  readonly linears: Readonly<Partial<Record<LinearRole, string>>>;
}

/** What tells one model family from another. Adding a family is adding one of these and what is truly its own. */
export interface Family {
  readonly modelType: string;
  /** Class name that config.json carries under `architectures`. */
  readonly architecture: string;
  /** What config.json calls a field, by Llama's name for it, where the two differ. Llama's is read too. */
  readonly spellings: Readonly<Record<string, string>>;
  /** What holds where config.json says nothing. */
  readonly defaults: {
    readonly tiedHead: boolean;
    readonly activation: ActivationName;
    readonly normEps: number;
    /** Part of a head that RoPE turns. */
    readonly partialRotary: number;
    /** intermediate_size over hidden_size; undefined where the file has to say it. */
    readonly mlpRatio: number | undefined;
  };
  /** Settings that change what is computed and are implemented with one value only, which is also their default. */
  readonly fixed: Readonly<Record<string, boolean>>;
  /** Activations that files of this family name otherwise than others do. */
  readonly activations: Readonly<Partial<Record<ActivationName, Activation>>>;
  /** Whether a `sliding_window` in the file is in force, in all layers, without `use_sliding_window`. */
  readonly windowByDefault: boolean;
  /** RMSNorm multiplies by its weight + `normOffset`; LayerNorm has a bias. */
  readonly norm: 'rms' | 'layer';
  readonly normOffset: number;
  readonly positions: 'rotary' | 'learned';
  /** Embeddings are multiplied by √hidden. */
  readonly scaledEmbedding: boolean;
  readonly headBias: boolean;
  /** How the checkpoint stores linear weights: `[out, in]`, or as GPT-2's Conv1D `[in, out]`. */
  readonly weightLayout: 'linear' | 'conv1d';
  /** A fused qkv holds all of q, then k, then v, or q, k and v of one head after another. */
  readonly qkvOrder: 'blocks' | 'heads';
  readonly bias: (fields: Fields) => { readonly qkv: boolean; readonly output: boolean; readonly mlp: boolean };
  /** Attention and MLP both read the layer's input, and their outputs are added to it together. */
  readonly parallelResidual: (fields: Fields) => boolean;
  readonly modules: ModulePaths;
}

type Differences = Pick<Family, 'modelType' | 'architecture'> &
  Partial<Omit<Family, 'defaults'>> & { readonly defaults?: Partial<Family['defaults']> };

/** A family that is Llama but for what is said. */
export function family({ defaults, ...differences }: Differences): Family {
  return {
    spellings: {},
    defaults: {
      tiedHead: false,
      activation: 'silu',
      normEps: 1e-6,
      partialRotary: 1,
      mlpRatio: undefined,
      ...defaults,
    },
    fixed: {},
    activations: {},
    windowByDefault: false,
    norm: 'rms',
    normOffset: 0,
    positions: 'rotary',
    scaledEmbedding: false,
    headBias: false,
    weightLayout: 'linear',
    qkvOrder: 'blocks',
    bias: () => ({ qkv: false, output: false, mlp: false }),
    parallelResidual: () => false,
    modules: LLAMA_MODULES,
    ...differences,
  };
}

/** The module paths that Llama introduced and its relatives kept. */
export const LLAMA_MODULES: ModulePaths = {
  base: 'model.',
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
};
