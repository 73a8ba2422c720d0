import * as tf from '@tensorflow/tfjs-core';
import { uploadDense, uploadQuantized, type FrozenWeight } from '../../kernels/index.js';
import { ConfigError } from '../errors.js';
import type { Decoder } from '../model/decoder.js';
import type { FrozenLinear } from '../model/linear.js';
import { dequantize4bit, quantize4bit } from '../quant/quantize.js';
import { hostValues } from './base-values.js';
import type { Decomposition } from './lora-linear.js';
import type { LoraInit } from './options.js';
import type { PeftConfig } from './peft-config.js';
import { truncatedSvd } from './svd.js';

/** Random vectors of the decomposition: the same in every run, so that a base that is taken apart again comes out the same. */
const SEED = 0;
const LOFTQ_QUANTIZATION = { quantType: 'nf4', blockSize: 64, doubleQuant: false } as const;

/** Takes a layer's weight apart as `init_lora_weights` asks for. @throws ConfigError where that needs float weights that are not there. */
export async function decomposition(layer: FrozenLinear, decoder: Decoder, config: PeftConfig, { rank, scale }: { rank: number; scale: number }): Promise<Decomposition> {
  const { weight } = layer;
  const floats = weight.kind === 'dense' ? await hostValues(weight) : await decoder.readFloats?.(layer.name);
  if (config.initLoraWeights === 'loftq') {
    if (floats === undefined) throw new ConfigError(`init_lora_weights: loftq needs the float weights of the base model, of which it takes what 4 bits lose; ${layer.name} is stored in 4 bits`);
    return loftq(floats, weight.shape, rank, scale, config.loftqConfig?.loftq_iter ?? 1);
  }
  const steps = /^pissa_niter_(\d+)$/.exec(String(config.initLoraWeights))?.[1];
  return pissa(floats ?? (await hostValues(weight)), weight, rank, scale, steps === undefined ? undefined : Number(steps));
}

/**
 * The rank principal directions become A and B, s·B·A = U·diag(σ)·Vᵀ, and what remains is frozen: as floats, or in 4 bits again (QPiSSA).
 * Source: Meng, Wang & Zhang 2024, arXiv:2404.02948.
 */
function pissa(values: Float32Array, base: FrozenWeight, rank: number, scale: number, steps: number | undefined): Decomposition {
  const { shape } = base;
  const { a, b } = principal(values, shape, rank, scale, steps);
  const rest = remainder(values, shape, a, b, rank, scale);
  if (base.kind === 'dense') return { a, b, weight: uploadDense(rest, shape) };
  const { quantType, blockSize, dtype, absmax } = base;
  return { a, b, weight: uploadQuantized(quantize4bit(rest, shape, { quantType, blockSize, dtype, doubleQuant: absmax.kind === 'nested' })) };
}

/**
 * NF4 of the weight, and A and B from what it loses; then NF4 of what A and B leave, and so on. The frozen weight is that of PEFT, whose
 * loop takes s for 1; A and B are set so that s·B·A is what the loop found.
 * Source: Li et al. 2023, arXiv:2310.08659, algorithm 1.
 */
function loftq(values: Float32Array, shape: readonly [number, number], rank: number, scale: number, iterations: number): Decomposition {
  let left = values;
  for (let iteration = 1; ; iteration++) {
    const packed = quantize4bit(left, shape, LOFTQ_QUANTIZATION);
    const kept = dequantize4bit(packed);
    const lost = values.map((value, i) => value - (kept[i] as number));
    const { a, b } = principal(lost, shape, rank, scale, undefined);
    if (iteration >= iterations) return { a, b, weight: uploadQuantized(packed) };
    left = remainder(values, shape, a, b, rank, scale);
  }
}

/** A `[rank, in]` and B `[out, rank]` of the leading part of a matrix: s·B·A = U·diag(σ)·Vᵀ, with √(σ/s) in each. */
function principal(values: Float32Array, [out, inner]: readonly [number, number], rank: number, scale: number, steps: number | undefined): { a: Float32Array; b: Float32Array } {
  const { u, s, vt } = truncatedSvd(values, out, inner, rank, { seed: SEED, steps });
  const [a, b] = [new Float32Array(rank * inner), new Float32Array(out * rank)];
  s.forEach((sigma, c) => {
    const root = Math.sqrt(sigma / scale);
    for (let i = 0; i < inner; i++) a[c * inner + i] = root * (vt[c * inner + i] as number);
    for (let i = 0; i < out; i++) b[i * rank + c] = root * (u[i * s.length + c] as number);
  });
  return { a, b };
}

/** W − s·B·A, in float64 and rounded once. */
function remainder(values: Float32Array, [out, inner]: readonly [number, number], a: Float32Array, b: Float32Array, rank: number, scale: number): Float32Array {
  const rest = new Float32Array(values.length);
  const row = new Float64Array(inner);
  for (let i = 0; i < out; i++) {
    for (let j = 0; j < inner; j++) row[j] = values[i * inner + j] as number;
    for (let c = 0; c < rank; c++) {
      const weight = scale * (b[i * rank + c] as number);
      for (let j = 0; j < inner; j++) row[j] = (row[j] as number) - weight * (a[c * inner + j] as number);
    }
    rest.set(row, i * inner);
  }
  return rest;
}

/** A weight of the size that `decomposition` leaves, without values. */
export function placeholder(base: FrozenWeight, init: LoraInit): FrozenWeight {
  const { shape } = base;
  if (init !== 'loftq' && base.kind === 'dense') return { ...base, values: tf.keep(tf.fill<tf.Rank.R2>([...shape], 0)) };
  const vector = (size: number, dtype: 'float32' | 'int32' = 'float32'): tf.Tensor1D => tf.keep(tf.fill([size], 0, dtype));
  const count = shape[0] * shape[1];
  if (init === 'loftq' || base.kind === 'dense') {
    const { quantType, blockSize } = LOFTQ_QUANTIZATION;
    return { kind: '4bit', shape, quantType, blockSize, dtype: 'F32', packed: vector(Math.ceil(count / 8), 'int32'), code: vector(16), absmax: { kind: 'plain', values: vector(Math.ceil(count / blockSize)) } };
  }
  const { absmax } = base;
  return {
    ...base,
    packed: vector(base.packed.size, 'int32'),
    code: vector(16),
    absmax:
      absmax.kind === 'plain'
        ? { kind: 'plain', values: vector(absmax.values.size) }
        : { ...absmax, codes: vector(absmax.codes.size, 'int32'), map: vector(absmax.map.size), nestedAbsmax: vector(absmax.nestedAbsmax.size) },
  };
}
