import * as tf from '@tensorflow/tfjs-core';
import { uploadDense, uploadQuantized, type FrozenWeight, type Packed4bit, type QuantType } from '../../kernels/index.js';
import { Decoder, type LayerNorms } from '../model/decoder.js';
import { LINEAR_ROLES } from '../model/families/family.js';
import { FrozenLinear } from '../model/linear.js';
import { linearShapes } from '../model/load.js';
import { quantize4bit } from '../quant/quantize.js';
import { weightValues } from './random.js';
import { modelConfigOf, type Dims } from './shapes.js';

export type Quantize = 'none' | QuantType;

/** A frozen `[out, in]` weight of random values on the device; 4-bit ones with nested scales, as bitsandbytes makes them. */
export function randomWeight(shape: readonly [number, number], quantize: Quantize, seed: number): FrozenWeight {
  const host = hostWeight(shape, quantize, seed);
  return host instanceof Float32Array ? uploadDense(host, shape) : uploadQuantized(host);
}

function hostWeight(shape: readonly [number, number], quantize: Quantize, seed: number): Float32Array | Packed4bit {
  const values = weightValues(shape[0] * shape[1], seed);
  return quantize === 'none' ? values : quantize4bit(values, shape, { quantType: quantize, doubleQuant: true, dtype: 'F32' });
}

/**
 * A decoder of random frozen weights, made tensor by tensor on the device. Layers hold equal values, each in memory of its own: what is
 * quantised on the host is so once a role, not once a layer.
 */
export function randomDecoder(dims: Dims, quantize: Quantize): Decoder {
  const config = modelConfigOf(dims);
  const { modules } = config.family;
  const shapes = linearShapes(config);
  const linears = new Map<string, FrozenLinear>();
  LINEAR_ROLES.forEach((role, r) => {
    const host = hostWeight(shapes[role], quantize, 100 + r);
    for (let i = 0; i < config.numLayers; i++) {
      const name = `${modules.layer(i)}.${modules.linears[role]}`;
      const weight = host instanceof Float32Array ? uploadDense(host, shapes[role]) : uploadQuantized(host);
      linears.set(name, new FrozenLinear(name, weight, undefined));
    }
  });
  const ones = (): tf.Tensor1D => tf.keep(tf.ones([config.hiddenSize]));
  const norms: LayerNorms[] = Array.from({ length: config.numLayers }, () => ({ attention: ones(), mlp: ones() }));
  const table = uploadDense(weightValues(dims.vocab * dims.hidden, 99), [dims.vocab, dims.hidden]);
  return new Decoder(config, { embedding: table.values, linears, norms, finalNorm: ones(), head: undefined });
}
