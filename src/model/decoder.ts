import * as tf from '@tensorflow/tfjs-core';
import { attention, checkpointed, embedding, gelu, swiglu } from '../../kernels/index.js';
import type { KvCache } from './cache.js';
import type { ModelConfig } from './config.js';
import { FrozenEmbedding, type Embedding } from './embedding.js';
import type { LinearRole } from './families/family.js';
import { splitGateUp, splitQkv, type Projections } from './fused.js';
import { FrozenHead, type Head } from './head.js';
import type { ForwardContext, Linear } from './linear.js';
import { normalise, type NormWeights } from './norm.js';
import { learnedPositions } from './positions.js';
import { placePrefix, type Prefix, type PrefixedRows } from './prefix.js';
import { RopeTables } from './rope.js';
import type { DecoderWeights, LayerNorms } from './weights.js';

/** Token ids of `batch` rows of `length` tokens, flattened, int32 `[batch · length]`. */
export interface DecoderInput {
  readonly ids: tf.Tensor1D;
  readonly batch: number;
  readonly length: number;
  /** int32 `[batch · (cached + length)]`: where the segment of each token begins in its row (left padding); 0 unless given. */
  readonly starts?: tf.Tensor1D;
  /** Earlier tokens of the same rows; this pass is added to it. */
  readonly cache?: KvCache;
}

export interface DecoderContext extends ForwardContext {
  /** Trained tensors of each layer. Given, a layer's activations are computed again in the backward pass instead of kept. */
  readonly checkpointParameters?: readonly (readonly tf.Tensor[])[];
}

/** What an adapter puts behind a sublayer: y `[tokens, hidden]` as it would be added to the residual stream, to what is added instead. */
export type SublayerAdapter = (y: tf.Tensor2D, context: ForwardContext) => tf.Tensor2D;

/**
 * A frozen decoder-only transformer. Knows its linear layers, embedding and head only by their interfaces: an adapter takes the
 * place of one and gives it back when it leaves.
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
  }

  /** Longest row that the model takes, beside a prefix. */
  get maxLength(): number {
    return this.config.maxPositions - (this.prefix?.length ?? 0);
  }

  /** Hidden states of the tokens (not of a prefix) after the final norm, `[batch · length, hidden]`. */
  hidden(given: DecoderInput, context: DecoderContext = {}): tf.Tensor2D {
    return tf.tidy(() => {
      const { kept, starts: placed, ...first } = this.embedded(given, context);
      const input = kept === undefined ? given : { ...given, length: first.x.shape[0] / given.batch, ...(placed === undefined ? {} : { starts: placed }) };
      let { x } = first;
      for (let i = 0; i < this.config.numLayers; i++) {
        const before = x;
        const parameters = context.checkpointParameters?.[i];
        const run = (y: tf.Tensor, starts?: tf.Tensor): tf.Tensor2D =>
          tf.tidy(() => this.layer(i, y as tf.Tensor2D, starts === undefined ? input : { ...input, starts: starts as tf.Tensor1D }, context));
        const starts = input.starts === undefined ? [] : [input.starts];
        x = (parameters === undefined ? run(before) : checkpointed(run, before, parameters, starts)) as tf.Tensor2D;
        before.dispose();
      }
      const y = this.norm(x, this.weights.finalNorm);
      return kept === undefined ? y : embedding(y, kept);
    });
  }

  /** Scores of the next token, `[rows, vocab]`, for hidden states `[rows, hidden]`. */
  logits(hidden: tf.Tensor2D): tf.Tensor2D {
    return this.head.logits(hidden);
  }

  /** What the first layer reads, with the prefix in the rows where there is one that no earlier pass has seen. */
  private embedded({ ids, batch, length, cache, starts }: DecoderInput, context: ForwardContext): { x: tf.Tensor2D } & Partial<PrefixedRows> {
    const { hiddenSize, family } = this.config;
    const { positions } = this.weights;
    const past = cache?.length ?? 0;
    return tf.tidy(() => {
      const tokens = this.embedding.forward(ids, context);
      const rows = this.prefix === undefined || past > 0 ? { x: tokens } : placePrefix(tokens, this.prefix.forward(context), { batch, length, starts });
      const scaled = family.scaledEmbedding ? tf.mul<tf.Tensor2D>(rows.x, Math.sqrt(hiddenSize)) : rows.x;
      if (positions === undefined) return { ...rows, x: scaled };
      const place = { batch, length: scaled.shape[0] / batch, past, starts: 'starts' in rows ? rows.starts : starts };
      return { ...rows, x: tf.add<tf.Tensor2D>(scaled, learnedPositions(positions, place)) };
    });
  }

  private layer(index: number, x: tf.Tensor2D, input: DecoderInput, context: ForwardContext): tf.Tensor2D {
    const norms = this.weights.norms[index] as LayerNorms;
    if (this.config.parallelResidual) {
      const y = this.norm(x, norms.attention);
      const attended = this.attentionPart(index, y, norms, input, context);
      const z = this.mlpPart(index, norms.mlp === undefined ? y : this.norm(x, norms.mlp), context);
      return tf.add(tf.add(x, attended), z);
    }
    const attended = tf.tidy(() => this.attentionPart(index, this.norm(x, norms.attention), norms, input, context));
    const middle = tf.add<tf.Tensor2D>(x, attended);
    attended.dispose();
    return tf.tidy(() => tf.add(middle, this.mlpPart(index, this.norm(middle, norms.mlp ?? norms.attention), context)));
  }

  /** y `[tokens, hidden]`, normalised, to what attention adds to the residual stream. */
  private attentionPart(index: number, y: tf.Tensor2D, norms: LayerNorms, input: DecoderInput, context: ForwardContext): tf.Tensor2D {
    return tf.tidy(() => {
      const projections: Projections = this.has('qkv')
        ? splitQkv(this.linear(index, 'qkv', y, context), this.config)
        : [this.linear(index, 'q', y, context), this.linear(index, 'k', y, context), this.linear(index, 'v', y, context)];
      return this.sublayer(index, 'attention', this.linear(index, 'o', this.attend(index, norms, projections, input), context), context);
    });
  }

  /** y `[tokens, hidden]`, normalised, to what the MLP adds to the residual stream. */
  private mlpPart(index: number, y: tf.Tensor2D, context: ForwardContext): tf.Tensor2D {
    return tf.tidy(() => this.sublayer(index, 'mlp', this.linear(index, 'down', this.activated(index, y, context), context), context));
  }

  /** What the last layer of the MLP reads, `[tokens, intermediate]`. */
  private activated(index: number, y: tf.Tensor2D, context: ForwardContext): tf.Tensor2D {
    const { activation } = this.config;
    if (this.has('gateUp')) return swiglu(...splitGateUp(this.linear(index, 'gateUp', y, context)), activation);
    if (this.has('gate')) return swiglu(this.linear(index, 'gate', y, context), this.linear(index, 'up', y, context), activation);
    return gelu(this.linear(index, 'up', y, context), activation);
  }

  private has(role: LinearRole): boolean {
    return this.config.family.modules.linears[role] !== undefined;
  }

  private linear(index: number, role: LinearRole, y: tf.Tensor2D, context: ForwardContext): tf.Tensor2D {
    const { modules } = this.config.family;
    const name = `${modules.layer(index)}.${modules.linears[role] ?? role}`;
    const slot = this.linears.get(name);
    if (slot === undefined) throw new Error(`no linear layer ${name}`);
    return slot.forward(y, context);
  }

  private norm(x: tf.Tensor2D, weights: NormWeights): tf.Tensor2D {
    return normalise(x, weights, this.config.normEps);
  }

  private sublayer(index: number, part: 'attention' | 'mlp', y: tf.Tensor2D, context: ForwardContext): tf.Tensor2D {
    const { modules } = this.config.family;
    return this.sublayers.get(`${modules.layer(index)}.${modules.sublayers[part]}`)?.(y, context) ?? y;
  }

  private attend(index: number, norms: LayerNorms, [q, k, v]: Projections, input: DecoderInput): tf.Tensor2D {
    const { numHeads, numKvHeads, headDim, windows } = this.config;
    const query = norms.query === undefined ? q : this.normHeads(q, norms.query);
    const key = norms.key === undefined ? k : this.normHeads(k, norms.key);
    const seen = input.cache === undefined ? { k: key, v } : input.cache.append(index, key, v);
    const keyLength = seen.k.shape[0] / input.batch;
    const window = windows[index];
    return attention(query, seen.k, seen.v, {
      batch: input.batch,
      queryLength: input.length,
      keyLength,
      numHeads,
      numKvHeads,
      headDim,
      ...(this.rope === undefined ? {} : { rotary: this.rope.upTo(keyLength) }),
      ...(window === undefined ? {} : { window }),
      ...(input.starts === undefined ? {} : { starts: input.starts }),
    });
  }

  private normHeads(x: tf.Tensor2D, weights: NormWeights): tf.Tensor2D {
    const heads = tf.reshape(x, [-1, this.config.headDim]) as tf.Tensor2D;
    return tf.reshape<tf.Rank.R2>(this.norm(heads, weights), x.shape);
  }

  /** Releases the base weights. Adapters are released by their own `dispose`. */
  dispose(): void {
    const { linears, floats } = this.weights;
    for (const layer of linears.values()) layer.dispose();
    tf.dispose([...floats.values()]);
    this.rope?.dispose();
  }
}
