import * as tf from '@tensorflow/tfjs-core';
import {
  uploadDense,
  uploadQuantized,
  type FrozenWeight,
  type Packed4bit,
  type QuantType,
} from '../../kernels/index.js';
import { Decoder } from '../model/decoder.js';
import { FrozenLinear } from '../model/linear.js';
import { floatTensors, linearLayers } from '../model/tensors.js';
import { decoderWeights } from '../model/weights.js';
import { quantize4bit } from '../quant/quantize.js';
import { weightValues } from './random.js';
import { modelConfigOf, type Dims } from './shapes.js';

export type Quantize = 'none' | QuantType;

/**
 * A frozen `[out, in]` weight of random values on the device; 4-bit ones with nested scales, as bitsandbytes makes
 * them.
 */
export function randomWeight(shape: readonly [number, number], quantize: Quantize, seed: number): FrozenWeight {
  const host = hostWeight(shape, quantize, seed);
  return host instanceof Float32Array ? uploadDense(host, shape) : uploadQuantized(host);
}

function hostWeight(shape: readonly [number, number], quantize: Quantize, seed: number): Float32Array | Packed4bit {
  const values = weightValues(shape[0] * shape[1], seed);
  return quantize === 'none'
    ? values
    : quantize4bit(values, shape, { quantType: quantize, doubleQuant: true, dtype: 'F32' });
}

/**
 * A decoder of random frozen weights, made tensor by tensor on the device. Layers hold equal values, each in memory of
 * its own: what is quantised on the host is so once a role, not once a layer.
 */
export function randomDecoder(dims: Dims, quantize: Quantize): Decoder {
  const config = modelConfigOf(dims);
  const linears = new Map<string, FrozenLinear>();
  const hosts = new Map<string, Float32Array | Packed4bit>();
  for (const { name, role, shape } of linearLayers(config)) {
    const host = hosts.get(role) ?? hostWeight(shape, quantize, 100 + hosts.size);
    hosts.set(role, host);
    linears.set(
      name,
      new FrozenLinear(
        name,
        host instanceof Float32Array ? uploadDense(host, shape) : uploadQuantized(host),
        undefined,
      ),
    );
  }
  const floats = floatTensors(config).map(({ name, shape }): [string, tf.Tensor] => {
    const [rows, columns] = shape;
    return [
      name,
      columns === undefined
        ? tf.keep(tf.ones([rows]))
        : uploadDense(weightValues(rows * columns, 99), [rows, columns]).values,
    ];
  });
  return new Decoder(config, decoderWeights(config, linears, new Map(floats)));
}
