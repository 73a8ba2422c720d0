import { weightBytes } from '../../kernels/index.js';
import type { Decoder } from '../model/decoder.js';
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

export function countParameters(decoder: Decoder, adapter?: Adapter): ParameterCounts {
  const { linears, floats } = decoder.weights;
  const dense = [...floats.values(), ...[...linears.values()].map((l) => l.bias)];
  const weights = [...linears.values()].map((l) => l.weight);
  const trainable = (adapter?.parameters ?? []).reduce((sum, p) => sum + p.variable.size, 0);
  let [total, totalBytes, quantized, quantizedBytes] = [trainable, 4 * trainable, 0, 0];
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
