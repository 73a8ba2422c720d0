import * as tf from '@tensorflow/tfjs-core';
import { uploadDense, uploadQuantized, type FrozenWeight } from '../../../../kernels/index.js';
import { ConfigError } from '../../../errors.js';
import type { Decoder } from '../../../model/decoder.js';
import type { FrozenLinear } from '../../../model/linear.js';
import { quantize4bit } from '../../../quant/quantize.js';
import { hostValues } from '../base-values.js';
import { LOFTQ_QUANTIZATION, loftqBase, lostValues } from './loftq.js';
import type { Decomposition } from '../linear.js';
import type { LoraInit } from '../options.js';
import type { LoraConfig } from '../config.js';
import { principal, remainder } from './principal.js';

/**
 * Takes a layer's weight apart as `init_lora_weights` asks for. @throws ConfigError where that needs float weights that
 * are not there.
 */
export async function decomposition(
  layer: FrozenLinear,
  decoder: Decoder,
  config: LoraConfig,
  { rank, scale }: { rank: number; scale: number },
): Promise<Decomposition> {
  const { weight } = layer;
  const floats = weight.kind === 'dense' ? await hostValues(weight) : await decoder.readFloats?.(layer.name);
  if (config.initLoraWeights === 'loftq') {
    if (floats === undefined)
      throw new ConfigError(
        `init_lora_weights: loftq needs the float weights of the base model, of which it takes what 4 bits lose; ${layer.name} is stored in 4 bits`,
      );
    const packed = loftqBase(floats, weight.shape, rank, scale, config.loftqConfig?.loftq_iter ?? 1);
    return { ...principal(lostValues(floats, packed), weight.shape, rank, scale), weight: uploadQuantized(packed) };
  }
  const steps = /^pissa_niter_(\d+)$/.exec(String(config.initLoraWeights))?.[1];
  return pissa(
    floats ?? (await hostValues(weight)),
    weight,
    rank,
    scale,
    steps === undefined ? undefined : Number(steps),
  );
}

/**
 * The rank principal directions become A and B, s·B·A = U·diag(σ)·Vᵀ, and what remains is frozen: as floats, or in 4
 * bits again (QPiSSA). Source: Meng, Wang & Zhang 2024, arXiv:2404.02948.
 */
function pissa(
  values: Float32Array,
  base: FrozenWeight,
  rank: number,
  scale: number,
  steps: number | undefined,
): Decomposition {
  const { shape } = base;
  const { a, b } = principal(values, shape, rank, scale, steps);
  const rest = remainder(values, shape, a, b, rank, scale);
  if (base.kind === 'dense') return { a, b, weight: uploadDense(rest, shape) };
  const { quantType, blockSize, dtype, absmax } = base;
  return {
    a,
    b,
    weight: uploadQuantized(
      quantize4bit(rest, shape, { quantType, blockSize, dtype, doubleQuant: absmax.kind === 'nested' }),
    ),
  };
}

/** A weight of the size that `decomposition` leaves, without values. */
export function placeholder(base: FrozenWeight, init: LoraInit): FrozenWeight {
  const { shape } = base;
  if (init !== 'loftq' && base.kind === 'dense')
    return { ...base, values: tf.keep(tf.fill<tf.Rank.R2>([...shape], 0)) };
  const vector = (size: number, dtype: 'float32' | 'int32' = 'float32'): tf.Tensor1D =>
    tf.keep(tf.fill([size], 0, dtype));
  const count = shape[0] * shape[1];
  if (init === 'loftq' || base.kind === 'dense') {
    const { quantType, blockSize } = LOFTQ_QUANTIZATION;
    return {
      kind: '4bit',
      shape,
      quantType,
      blockSize,
      dtype: 'F32',
      packed: vector(Math.ceil(count / 8), 'int32'),
      code: vector(16),
      absmax: { kind: 'plain', values: vector(Math.ceil(count / blockSize)) },
    };
  }
  const { absmax } = base;
  return {
    ...base,
    packed: vector(base.packed.size, 'int32'),
    code: vector(16),
    absmax:
      absmax.kind === 'plain'
        ? { kind: 'plain', values: vector(absmax.values.size) }
        : {
            ...absmax,
            codes: vector(absmax.codes.size, 'int32'),
            map: vector(absmax.map.size),
            nestedAbsmax: vector(absmax.nestedAbsmax.size),
          },
  };
}
