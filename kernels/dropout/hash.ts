/**
 * The bits behind dropout masks: a counter-based hash, so that element i of a mask depends on the seed and on i only. A
 * backward pass, a resumed run and every backend therefore see the same mask without storing it.
 */

/** Mixes 32 bits (Wellons 2018, "Prospecting for hash functions": shifts 16, 15, 16, bias 0.17). */
export function mix32(value: number): number {
  let h = value >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** What a kernel needs of (seed, offset): two keys and the low half of the first element's counter. */
export interface DropoutKey {
  readonly first: number;
  readonly second: number;
  readonly start: number;
}

export function dropoutKey(seed: number, offset: number): DropoutKey {
  const first = mix32(seed ^ mix32(Math.floor(offset / 2 ** 32)));
  return { first, second: mix32(first + 0x9e3779b9), start: offset % 2 ** 32 };
}

/** Bits below this drop an element. */
export function dropoutThreshold(rate: number): number {
  return Math.min(2 ** 32 - 1, Math.round(rate * 2 ** 32));
}

/** 32 random bits of element `i`: kernels compute the same in their own language. */
export function dropoutBits(key: DropoutKey, i: number): number {
  return mix32(mix32((key.start + i) ^ key.first) + key.second);
}

/** The factors of `size` elements: 0 with probability `rate`, else 1 / (1 − rate). */
export function dropoutMask(size: number, rate: number, seed: number, offset: number): Float32Array {
  const key = dropoutKey(seed, offset);
  const threshold = dropoutThreshold(rate);
  const kept = 1 / (1 - rate);
  return Float32Array.from({ length: size }, (_, i) => (dropoutBits(key, i) < threshold ? 0 : kept));
}
