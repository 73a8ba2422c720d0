import * as tf from '@tensorflow/tfjs-core';
import { attention, gelu, swiglu } from '../../kernels/index.js';
import type { KvCache } from './cache.js';
import type { ModelConfig } from './config.js';
import type { LinearRole } from './families/family.js';
import { splitGateUp, splitQkv, type Projections } from './fused.js';
import { forwardTogether, type ForwardContext, type Linear } from './linear.js';
import { addNormalised, normalise, type NormWeights } from './norm.js';
import type { RopeTables } from './rope.js';
import type { LayerNorms } from './weights.js';

/** The rows that run through a layer. */
export interface LayerInput {
  readonly batch: number;
  /** Tokens of each row in this pass. */
  readonly length: number;
  /**
   * int32 `[batch · (cached + length)]`: where the segment of each token begins in its row (left padding); 0 unless
   * given.
   */
  readonly starts?: tf.Tensor1D;
  /** Earlier tokens of the same rows; this pass is added to it. */
  readonly cache?: KvCache;
}

/**
 * What an adapter puts behind a sublayer: y `[tokens, hidden]` as it would be added to the residual stream, to what is
 * added instead.
 */
export type SublayerAdapter = (y: tf.Tensor2D, context: ForwardContext) => tf.Tensor2D;

/** What a layer takes from its decoder: by module path, whatever stands there at the moment. */
export interface LayerHost {
  readonly config: ModelConfig;
  readonly linears: ReadonlyMap<string, Linear>;
  readonly sublayers: ReadonlyMap<string, SublayerAdapter>;
}

/** Attention and MLP, with their norms and residual connections. */
export class DecoderLayer {
  private readonly config: ModelConfig;

  constructor(
    private readonly host: LayerHost,
    private readonly index: number,
    private readonly norms: LayerNorms,
    private readonly rope: RopeTables | undefined,
  ) {
    this.config = host.config;
  }

  /** x `[tokens, hidden]` to the same shape. */
  forward(x: tf.Tensor2D, input: LayerInput, { valueUnused = false, ...context }: ForwardContext): tf.Tensor2D {
    const { norms } = this;
    return tf.tidy(() => {
      if (this.config.parallelResidual) {
        const y = this.norm(x, norms.attention);
        const attended = this.attend(y, input, context, valueUnused);
        return tf.add(
          tf.add(x, attended),
          this.transform(norms.mlp === undefined ? y : this.norm(x, norms.mlp), context, valueUnused),
        );
      }
      const [middle, y] = tf.tidy(() => {
        const attended = this.attend(this.norm(x, norms.attention), input, context);
        return addNormalised(x, attended, norms.mlp ?? norms.attention, this.config.normEps);
      });
      return tf.add(middle, this.transform(y, context, valueUnused));
    });
  }

  /** What attention adds to the residual stream; y `[tokens, hidden]` is normalised. */
  private attend(y: tf.Tensor2D, input: LayerInput, context: ForwardContext, valueUnused = false): tf.Tensor2D {
    return tf.tidy(() => {
      const projections = this.has('qkv')
        ? splitQkv(this.linear('qkv', y, context), this.config)
        : this.linears(['q', 'k', 'v'], y, context);
      return this.last('o', 'attention', this.mix(projections, input), context, valueUnused);
    });
  }

  /** What the MLP adds to the residual stream; y `[tokens, hidden]` is normalised. */
  private transform(y: tf.Tensor2D, context: ForwardContext, valueUnused: boolean): tf.Tensor2D {
    const { activation } = this.config;
    return tf.tidy(() => {
      const inner = (): tf.Tensor2D => {
        if (this.has('gateUp')) return swiglu(...splitGateUp(this.linear('gateUp', y, context)), activation);
        return this.has('gate')
          ? swiglu(...this.linears(['gate', 'up'], y, context), activation)
          : gelu(this.linear('up', y, context), activation);
      };
      return this.last('down', 'mlp', inner(), context, valueUnused);
    });
  }

  /** Attention proper, `[tokens, heads · headDim]`. */
  private mix([q, k, v]: Projections, { batch, length, starts, cache }: LayerInput): tf.Tensor2D {
    const { numHeads, numKvHeads, headDim, windows } = this.config;
    const [query, key] = [this.normHeads(q, this.norms.query), this.normHeads(k, this.norms.key)];
    const seen = cache === undefined ? { k: key, v } : cache.append(this.index, key, v);
    const keyLength = seen.k.shape[0] / batch;
    const window = windows[this.index];
    return attention(query, seen.k, seen.v, {
      ...{ batch, queryLength: length, keyLength, numHeads, numKvHeads, headDim },
      ...(this.rope === undefined ? {} : { rotary: this.rope.upTo(keyLength) }),
      ...(window === undefined ? {} : { window }),
      ...(starts === undefined ? {} : { starts }),
    });
  }

  private has(role: LinearRole): boolean {
    return this.config.family.modules.linears[role] !== undefined;
  }

  private linear(role: LinearRole, y: tf.Tensor2D, context: ForwardContext): tf.Tensor2D {
    return this.slot(role).forward(y, context);
  }

  /** Several that read y. */
  private linears<R extends readonly LinearRole[]>(
    roles: readonly [...R],
    y: tf.Tensor2D,
    context: ForwardContext,
  ): { readonly [K in keyof R]: tf.Tensor2D } {
    return forwardTogether(
      roles.map((role) => this.slot(role)),
      y,
      context,
    ) as unknown as { readonly [K in keyof R]: tf.Tensor2D };
  }

  private slot(role: LinearRole): Linear {
    const { modules } = this.config.family;
    const name = `${modules.layer(this.index)}.${modules.linears[role] ?? role}`;
    const slot = this.host.linears.get(name);
    if (slot === undefined) throw new Error(`no linear layer ${name}`);
    return slot;
  }

  /** The last linear layer of a part, and what an adapter puts behind it. */
  private last(
    role: LinearRole,
    part: 'attention' | 'mlp',
    y: tf.Tensor2D,
    context: ForwardContext,
    valueUnused: boolean,
  ): tf.Tensor2D {
    const { modules } = this.config.family;
    const adapter = this.host.sublayers.get(`${modules.layer(this.index)}.${modules.sublayers[part]}`);
    if (adapter === undefined) return this.linear(role, y, { ...context, valueUnused });
    return adapter(this.linear(role, y, context), context);
  }

  private norm(x: tf.Tensor2D, weights: NormWeights): tf.Tensor2D {
    return normalise(x, weights, this.config.normEps);
  }

  private normHeads(x: tf.Tensor2D, weights: NormWeights | undefined): tf.Tensor2D {
    if (weights === undefined) return x;
    const heads = tf.reshape(x, [-1, this.config.headDim]) as tf.Tensor2D;
    return tf.reshape<tf.Rank.R2>(this.norm(heads, weights), x.shape);
  }
}
