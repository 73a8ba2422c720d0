import type * as tf from '@tensorflow/tfjs-core';
import type { FrozenWeight } from '../../kernels/index.js';
import type { ModelConfig } from './config.js';
import type { FrozenLinear } from './linear.js';
import type { NormWeights } from './norm.js';

/** The norm weights of one decoder layer, as far as the family has them. */
export interface LayerNorms {
  readonly attention: NormWeights;
  readonly mlp: NormWeights | undefined;
  readonly query: NormWeights | undefined;
  readonly key: NormWeights | undefined;
}

/** The base model's tensors, as a loader hands them over. The decoder owns them. */
export interface DecoderWeights {
  /** `[vocab, hidden]`. */
  readonly embedding: tf.Tensor2D;
  /** `[maxPositions, hidden]`, where positions are learned. */
  readonly positions: tf.Tensor2D | undefined;
  /** By module path. */
  readonly linears: ReadonlyMap<string, FrozenLinear>;
  readonly norms: readonly LayerNorms[];
  readonly finalNorm: NormWeights;
  /** Undefined when the head is the embedding. */
  readonly head: FrozenWeight | undefined;
  /** `[vocab]` */
  readonly headBias: tf.Tensor1D | undefined;
  /** All tensors above but those of the linear layers, by their names in the checkpoint. */
  readonly floats: ReadonlyMap<string, tf.Tensor>;
}

/**
 * Puts each tensor where it belongs.
 * @param linears every layer of `linearLayers(config)`
 * @param floats every tensor of `floatTensors(config)`, by its name
 */
export function decoderWeights(
  config: ModelConfig,
  linears: ReadonlyMap<string, FrozenLinear>,
  floats: ReadonlyMap<string, tf.Tensor>,
): DecoderWeights {
  const { modules } = config.family;
  const norm = (path: string): NormWeights => ({
    weight: floats.get(`${path}.weight`) as tf.Tensor1D,
    bias: floats.get(`${path}.bias`) as tf.Tensor1D | undefined,
  });
  const head = floats.get(`${modules.head}.weight`) as tf.Tensor2D | undefined;
  return {
    embedding: floats.get(`${modules.embedding}.weight`) as tf.Tensor2D,
    positions: modules.positions === undefined ? undefined : (floats.get(`${modules.positions}.weight`) as tf.Tensor2D),
    linears,
    norms: Array.from({ length: config.numLayers }, (_, i) => {
      const inLayer = (path: string | undefined): NormWeights | undefined =>
        path === undefined ? undefined : norm(`${modules.layer(i)}.${path}`);
      return {
        attention: norm(`${modules.layer(i)}.${modules.attentionNorm}`),
        mlp: inLayer(modules.mlpNorm),
        query: inLayer(modules.queryNorm),
        key: inLayer(modules.keyNorm),
      };
    }),
    finalNorm: norm(modules.finalNorm),
    head: head === undefined ? undefined : { kind: 'dense', shape: head.shape, values: head },
    headBias: floats.get(`${modules.head}.bias`) as tf.Tensor1D | undefined,
    floats,
  };
}
