import * as tf from '@tensorflow/tfjs-core';
import { checkpointed, embedding } from '../../kernels/index.js';
import type { ModelConfig } from './config.js';
import { FrozenEmbedding, type Embedding } from './embedding.js';
import { FrozenHead, type Head } from './head.js';
import { DecoderLayer, type LayerInput, type SublayerAdapter } from './layer.js';
import type { ForwardContext, Linear } from './linear.js';
import { normalise } from './norm.js';
import { learnedPositions } from './positions.js';
import { placePrefix, type Prefix, type PrefixedRows } from './prefix.js';
import { RopeTables } from './rope.js';
import type { DecoderWeights } from './weights.js';

export type { SublayerAdapter } from './layer.js';

/** Rows of tokens. */
export interface DecoderInput extends LayerInput {
  /** int32 `[batch · length]` */
  readonly ids: tf.Tensor1D;
}

export interface DecoderContext extends ForwardContext {
  /**
   * Trained tensors of each layer. Given, a layer's activations are computed again in the backward pass instead of
   * kept.
   */
  readonly gradientCheckpointing?: readonly (readonly tf.Tensor[])[];
  /** True: the hidden states of a prefix are part of the result, in front of each row. */
  readonly keepPrefix?: boolean;
}

/**
 * A frozen decoder-only transformer. Knows its linear layers, embedding and head only by their interfaces: an adapter
 * takes the place of one and gives it back when it leaves.
 */
export class Decoder {
  readonly linears: Map<string, Linear>;
  embedding: Embedding;
  head: Head;
  /** By the path of the sublayer (`model.layers.0.self_attn`, `model.layers.0.mlp`). */
  readonly sublayers = new Map<string, SublayerAdapter>();
  prefix: Prefix | undefined;
  /** A linear layer's weight `[out, in]` as the checkpoint has it, by its path; undefined where that is in 4 bits. */
  readFloats: ((module: string) => Promise<Float32Array | undefined>) | undefined;
  private readonly rope: RopeTables | undefined;
  private readonly layers: readonly DecoderLayer[];

  constructor(
    readonly config: ModelConfig,
    readonly weights: DecoderWeights,
  ) {
    const { embedding: table, linears, head, headBias } = weights;
    const { modules } = config.family;
    this.linears = new Map(linears);
    this.embedding = new FrozenEmbedding(modules.embedding, table);
    this.head = new FrozenHead(modules.head, head ?? { kind: 'dense', shape: table.shape, values: table }, headBias);
    this.rope = config.rope === undefined ? undefined : new RopeTables(config.rope);
    this.layers = weights.norms.map((norms, i) => new DecoderLayer(this, i, norms, this.rope));
  }

  /** Longest row that the model takes, beside a prefix. */
  get maxLength(): number {
    return this.config.maxPositions - (this.prefix?.length ?? 0);
  }

  /**
   * Hidden states of the tokens after the final norm, `[batch · length, hidden]`; those of a prefix only where asked
   * for.
   */
  hidden(given: DecoderInput, context: DecoderContext = {}): tf.Tensor2D {
    return tf.tidy(() => {
      const { kept, starts: placed, ...first } = this.embedded(given, context);
      const input =
        kept === undefined
          ? given
          : { ...given, length: first.x.shape[0] / given.batch, ...(placed === undefined ? {} : { starts: placed }) };
      let { x } = first;
      for (const [i, layer] of this.layers.entries()) {
        const before = x;
        const parameters = context.gradientCheckpointing?.[i];
        const run =
          (asked: ForwardContext) =>
          (y: tf.Tensor, starts?: tf.Tensor): tf.Tensor2D =>
            layer.forward(
              y as tf.Tensor2D,
              starts === undefined ? input : { ...input, starts: starts as tf.Tensor1D },
              asked,
            );
        const starts = input.starts === undefined ? [] : [input.starts];
        x = (
          parameters === undefined
            ? run(context)(before)
            : checkpointed(run(context), before, parameters, starts, run({ ...context, valueUnused: true }))
        ) as tf.Tensor2D;
        before.dispose();
      }
      const y = normalise(x, this.weights.finalNorm, this.config.normEps);
      return kept === undefined || context.keepPrefix === true ? y : embedding(y, kept);
    });
  }

  /** Tokens that it knows, those that an adapter adds among them. */
  get vocabSize(): number {
    return this.head.vocab;
  }

  /** Scores of the next token, `[rows, vocab]`, for hidden states `[rows, hidden]`. */
  logits(hidden: tf.Tensor2D): tf.Tensor2D {
    return this.head.logits(hidden);
  }

  /**
   * Tokens `[tokens]` as the first layer reads them, but for learned positions; a prefix stands among them as it is.
   */
  embedTokens(ids: tf.Tensor1D, context: ForwardContext = {}): tf.Tensor2D {
    const { hiddenSize, family } = this.config;
    const rows = this.embedding.forward(ids, context);
    return family.scaledEmbedding ? tf.mul<tf.Tensor2D>(rows, Math.sqrt(hiddenSize)) : rows;
  }

  /** What the first layer reads, with the prefix in the rows where there is one that no earlier pass has seen. */
  private embedded(
    { ids, batch, length, cache, starts }: DecoderInput,
    context: ForwardContext,
  ): { x: tf.Tensor2D } & Partial<PrefixedRows> {
    const { positions } = this.weights;
    const past = cache?.length ?? 0;
    return tf.tidy(() => {
      const tokens = this.embedTokens(ids, context);
      const rows =
        this.prefix === undefined || past > 0
          ? { x: tokens }
          : placePrefix(tokens, this.prefix.forward(context), { batch, length, starts });
      if (positions === undefined) return rows;
      const place = { batch, length: rows.x.shape[0] / batch, past, starts: 'starts' in rows ? rows.starts : starts };
      return { ...rows, x: tf.add<tf.Tensor2D>(rows.x, learnedPositions(positions, place)) };
    });
  }

  /** Releases the base weights. Adapters are released by their own `dispose`. */
  dispose(): void {
    const { linears, floats } = this.weights;
    for (const layer of linears.values()) layer.dispose();
    tf.dispose([...floats.values()]);
    this.rope?.dispose();
  }
}
