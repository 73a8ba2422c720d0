import type { Random } from '../../../random.js';
import type { LoraInit } from '../options.js';

/**
 * A of a fresh layer, `[rank, in]`. PEFT's default (kaiming_uniform with a = √5) is uniform in ±1/√in; `gaussian` is
 * normal with deviation 1/r.
 */
export function initialA(rank: number, inFeatures: number, init: LoraInit, random: Random): Float32Array {
  const bound = 1 / Math.sqrt(inFeatures);
  const draw = init === 'gaussian' ? () => random.normal() / rank : () => (2 * random.uniform() - 1) * bound;
  return Float32Array.from({ length: rank * inFeatures }, draw);
}

/** B of a fresh embedding, whose A is zero: standard normal. */
export function initialEmbeddingB(rank: number, hidden: number, random: Random): Float32Array {
  return Float32Array.from({ length: hidden * rank }, () => random.normal());
}

/** Whether a start takes the base's weights apart. */
export function decomposes(init: boolean | string): boolean {
  return init === 'loftq' || (typeof init === 'string' && init.startsWith('pissa'));
}
