import * as tf from '@tensorflow/tfjs-core';
import { attention, checkpointed, disposeWeight, rmsNorm, swiglu, type FrozenWeight } from '../../kernels/index.js';
import type { KvCache } from './cache.js';
import type { ModelConfig } from './config.js';
import { FrozenEmbedding, type Embedding } from './embedding.js';
import type { LinearRole } from './families/family.js';
import { FrozenHead, type Head } from './head.js';
import type { ForwardContext, FrozenLinear, Linear } from './linear.js';
import { RopeTables } from './rope.js';

/** The norm weights of one decoder layer; query and key norms only where the family has them. */
export interface LayerNorms {
  readonly attention: tf.Tensor1D;
  readonly mlp: tf.Tensor1D;
  readonly query?: tf.Tensor1D;
  readonly key?: tf.Tensor1D;
}

/** The base model's tensors, as a loader hands them over. The decoder owns them. */
export interface DecoderWeights {
  /** `[vocab, hidden]`. */
  readonly embedding: tf.Tensor2D;
  readonly linears: ReadonlyMap<string, FrozenLinear>;
  readonly norms: readonly LayerNorms[];
  readonly finalNorm: tf.Tensor1D;
  /** Undefined when the head is the embedding. */
  readonly head: FrozenWeight | undefined;
}

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

/** Trained vectors that stand in front of every row as if they were embedded tokens (soft prompts). */
export interface Prefix {
  readonly length: number;
  /** `[length, hidden]`, the caller's to dispose. */
  forward(context: ForwardContext): tf.Tensor2D;
}

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
  private readonly rope: RopeTables;

  constructor(
    readonly config: ModelConfig,
    readonly weights: DecoderWeights,
  ) {
    const { embedding: table, linears, head } = weights;
    const { modules } = config.family;
    this.linears = new Map(linears);
    this.embedding = new FrozenEmbedding(modules.embedding, table);
    this.head = new FrozenHead(modules.head, head ?? { kind: 'dense', shape: table.shape, values: table });
    this.rope = new RopeTables(config.rope);
  }

  /** Module path of a linear layer. */
  linearName(layer: number, role: LinearRole): string {
    const { modules } = this.config.family;
    return `${modules.layer(layer)}.${modules.linears[role]}`;
  }

  /** Hidden states after the final norm, `[batch · length, hidden]`. */
  hidden(input: DecoderInput, context: DecoderContext = {}): tf.Tensor2D {
    return tf.tidy(() => {
      let x = this.embedding.forward(input.ids, context);
      for (let i = 0; i < this.config.numLayers; i++) {
        const before = x;
        const parameters = context.checkpointParameters?.[i];
        const run = (y: tf.Tensor, starts?: tf.Tensor): tf.Tensor2D =>
          tf.tidy(() => this.layer(i, y as tf.Tensor2D, starts === undefined ? input : { ...input, starts: starts as tf.Tensor1D }, context));
        const starts = input.starts === undefined ? [] : [input.starts];
        x = (parameters === undefined ? run(before) : checkpointed(run, before, parameters, starts)) as tf.Tensor2D;
        before.dispose();
      }
      return rmsNorm(x, this.weights.finalNorm, this.config.normEps);
    });
  }

  /** Scores of the next token, `[rows, vocab]`, for hidden states `[rows, hidden]`. */
  logits(hidden: tf.Tensor2D): tf.Tensor2D {
    return this.head.logits(hidden);
  }

  private layer(index: number, x: tf.Tensor2D, input: DecoderInput, context: ForwardContext): tf.Tensor2D {
    const { normEps, activation } = this.config;
    const norms = this.weights.norms[index] as LayerNorms;
    const apply = (role: LinearRole, y: tf.Tensor2D): tf.Tensor2D => {
      const slot = this.linears.get(this.linearName(index, role));
      if (slot === undefined) throw new Error(`no linear layer ${this.linearName(index, role)}`);
      return slot.forward(y, context);
    };
    const attended = tf.tidy(() => {
      const y = rmsNorm(x, norms.attention, normEps);
      const z = apply('o', this.attend(index, norms, apply('q', y), apply('k', y), apply('v', y), input));
      return this.sublayer(index, 'attention', z, context);
    });
    const middle = tf.add<tf.Tensor2D>(x, attended);
    attended.dispose();
    return tf.tidy(() => {
      const y = rmsNorm(middle, norms.mlp, normEps);
      const z = apply('down', swiglu(apply('gate', y), apply('up', y), activation));
      return tf.add(middle, this.sublayer(index, 'mlp', z, context));
    });
  }

  private sublayer(index: number, part: 'attention' | 'mlp', y: tf.Tensor2D, context: ForwardContext): tf.Tensor2D {
    const { modules } = this.config.family;
    return this.sublayers.get(`${modules.layer(index)}.${modules.sublayers[part]}`)?.(y, context) ?? y;
  }

  private attend(index: number, norms: LayerNorms, q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D, input: DecoderInput): tf.Tensor2D {
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
      rotary: this.rope.upTo(keyLength),
      ...(window === undefined ? {} : { window }),
      ...(input.starts === undefined ? {} : { starts: input.starts }),
    });
  }

  private normHeads(x: tf.Tensor2D, weight: tf.Tensor1D): tf.Tensor2D {
    const heads = tf.reshape(x, [-1, this.config.headDim]) as tf.Tensor2D;
    return tf.reshape<tf.Rank.R2>(rmsNorm(heads, weight, this.config.normEps), x.shape);
  }

  /** Releases the base weights. Adapters are released by their own `dispose`. */
  dispose(): void {
    const { embedding: table, linears, norms, finalNorm, head } = this.weights;
    for (const layer of linears.values()) layer.dispose();
    for (const { attention: a, mlp, query, key } of norms) tf.dispose([a, mlp, query, key].filter((t) => t !== undefined));
    tf.dispose([table, finalNorm]);
    if (head !== undefined) disposeWeight(head);
    this.rope.dispose();
  }
}
