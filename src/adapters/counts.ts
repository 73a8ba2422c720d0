import type * as tf from '@tensorflow/tfjs-core';
import { weightBytes } from '../../kernels/index.js';
import type { Decoder } from '../model/decoder.js';
import { trainedTensors } from '../model/trained.js';
import type { Adapter } from './adapter.js';

/** Parameters and bytes of a decoder with its adapter, as printed before training. */
export interface ParameterCounts {
  readonly trainable: number;
  readonly trainableBytes: number;
  /** Base and adapter together. */
  readonly total: number;
  readonly totalBytes: number;
  /** Weights held in 4 bits, and the bytes they take with their scales. */
  readonly quantized: number;
  readonly quantizedBytes: number;
}

/** What a model and its adapter hold, in parameters and bytes. */
export function countParameters(decoder: Decoder, adapter?: Adapter): ParameterCounts {
  const { linears, floats } = decoder.weights;
  const dense = [...floats.values(), ...[...linears.values()].map((l) => l.bias)];
  const weights = [...linears.values()].map((l) => l.weight);
  const sizeOf = (tensors: readonly tf.Tensor[]): number => tensors.reduce((sum, tensor) => sum + tensor.size, 0);
  const variables = (adapter?.parameters ?? []).map((p) => p.variable);
  const trainable = sizeOf(variables);
  // Trained tensors of the base itself are among its own.
  const own = new Set<tf.Variable>(trainedTensors(decoder).values());
  const added = sizeOf(variables.filter((variable) => !own.has(variable)));
  let [total, totalBytes, quantized, quantizedBytes] = [added, 4 * added, 0, 0];
  for (const tensor of dense) {
    total += tensor?.size ?? 0;
    totalBytes += 4 * (tensor?.size ?? 0);
  }
  for (const weight of weights) {
    const size = weight.shape[0] * weight.shape[1];
    const bytes = weight.kind === 'dense' ? 4 * size : weightBytes(weight);
    total += size;
    totalBytes += bytes;
    if (weight.kind === '4bit') {
      quantized += size;
      quantizedBytes += bytes;
    }
  }
  return { trainable, trainableBytes: 4 * trainable, total, totalBytes, quantized, quantizedBytes };
}
