import { parseModelConfig, type ModelConfig } from '../model/config.js';

/** Sizes of a Llama-shaped decoder and of the batch that it trains on. */
export interface Dims {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly ffn: number;
  readonly vocab: number;
  readonly batch: number;
  readonly seq: number;
}

const shape = (
  hidden: number,
  layers: number,
  heads: number,
  kvHeads: number,
  ffn: number,
  vocab: number,
  batch: number,
  seq: number,
): Dims => ({
  ...{ hidden, layers, heads, kvHeads, ffn, vocab, batch, seq },
});

/** Shapes that are measured: a toy, and those of SmolLM2-135M, Qwen2.5-0.5B and Llama-3.2-1B. */
export const SHAPES = {
  tiny: shape(288, 6, 6, 6, 768, 4096, 4, 128),
  smol135m: shape(576, 30, 9, 3, 1536, 49152, 4, 512),
  'qwen0.5b': shape(896, 24, 14, 2, 4864, 151936, 4, 512),
  llama1b: shape(2048, 16, 32, 8, 8192, 128256, 4, 1024),
} as const satisfies Record<string, Dims>;
export type ShapeName = keyof typeof SHAPES;

/** As scripts/bench/torch_step.py prints them: hidden, layers, heads, kv heads, ffn, vocab, batch, seq. */
export function dimsList({ hidden, layers, heads, kvHeads, ffn, vocab, batch, seq }: Dims): number[] {
  return [hidden, layers, heads, kvHeads, ffn, vocab, batch, seq];
}

/**
 * Operations of one LoRA step: 4 for each frozen weight and token (2 forward, 2 for the gradient of the input; none for
 * the weight's own), the tied output layer among them; and causal attention, two products forward and four backward
 * over half of the length² scores. Neither the low-rank products, nor what is computed twice, nor norms and activations
 * are counted.
 */
export function stepFlops({ hidden: h, layers, heads, kvHeads, ffn, vocab, batch, seq }: Dims): number {
  const headDim = h / heads;
  const weights = layers * (2 * h * h + 2 * h * kvHeads * headDim + 3 * h * ffn);
  const attention = (6 * 2 * layers * batch * heads * seq * seq * headDim) / 2;
  return batch * seq * 4 * (weights + vocab * h) + attention;
}

/**
 * Operations that the own kernels do in such a step (hardware FLOPs, where `stepFlops` counts model FLOPs): those of
 * `stepFlops`, the scores of attention once more in its backward pass, the low-rank products on all seven linear
 * layers, and with gradient checkpointing the forward pass of the layers again but for what only their results are made
 * of. Without it nothing below the first layer wants a gradient, and none is made there. Norms and activations are left
 * out. Source of the distinction: Chowdhery et al. 2022, arXiv:2204.02311, appendix B.
 */
export function hardwareFlops(dims: Dims, rank: number, checkpointing: boolean): number {
  const { hidden: h, layers, heads, kvHeads, ffn, batch, seq } = dims;
  const tokens = batch * seq;
  const kv = (h / heads) * kvHeads;
  const weights = 2 * h * h + 2 * h * kv + 3 * h * ffn;
  // Rows of A and columns of B: Σ in + out of q, k, v, o, gate, up, down.
  const lowRank = rank * (2 * (h + h) + 2 * (h + kv) + 3 * (h + ffn));
  const scores = (2 * batch * heads * seq * seq * (h / heads)) / 2;
  const forward = 2 * tokens * (weights + lowRank) + 2 * scores;
  const again = checkpointing
    ? layers * (forward - 2 * tokens * (h * ffn + rank * h))
    : -2 * tokens * (h * h + 2 * h * kv + 3 * rank * h);
  return stepFlops(dims) + layers * (6 * tokens * lowRank + scores) + again;
}

/**
 * The same family, small enough for stock ops: one layer, two short rows, and the widths of hidden state and heads
 * kept, since they decide which kernels run. Odd sizes where they are free.
 */
export function reducedDims(dims: Dims): Dims {
  return {
    ...dims,
    layers: 1,
    ffn: Math.min(dims.ffn, 1536),
    vocab: Math.min(dims.vocab, 1001),
    batch: Math.min(dims.batch, 2),
    seq: Math.min(dims.seq, 17),
  };
}

/** The decoder's config: Llama with a tied head and plain rotary positions. */
export function modelConfigOf(dims: Dims): ModelConfig {
  return parseModelConfig(
    {
      model_type: 'llama',
      hidden_size: dims.hidden,
      num_hidden_layers: dims.layers,
      num_attention_heads: dims.heads,
      num_key_value_heads: dims.kvHeads,
      intermediate_size: dims.ffn,
      vocab_size: dims.vocab,
      max_position_embeddings: dims.seq,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      tie_word_embeddings: true,
    },
    'bench shape',
  );
}
