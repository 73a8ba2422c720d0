import type { QuantType } from '../../kernels/types.js';

/**
 * The 16 values of NormalFloat4, by code: quantiles of N(0, 1), scaled to [−1, 1], with an exact zero.
 * Source: Dettmers et al., "QLoRA" (2023), appendix E; the float32 values of bitsandbytes.
 */
export const NF4_CODE = new Float32Array([
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
]);

/** The 16 values of bitsandbytes' FP4, by code. Bit 3 is the sign, so they do not ascend; code 8 is +0, as there. */
export const FP4_CODE = Float32Array.from(
  [0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3],
  (twelfths) => twelfths / 12,
);

export const CODES: Readonly<Record<QuantType, Float32Array>> = { nf4: NF4_CODE, fp4: FP4_CODE };

/** FP4's codes in ascending order of value; the two zeros stand as bitsandbytes sorts them. */
const FP4_RANKS = Uint8Array.of(11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3);
const NF4_RANKS = Uint8Array.from({ length: 16 }, (_, rank) => rank);

/**
 * Buckets a unit. Fine enough that no bucket holds two midpoints (FP4's are 0.0026 apart at zero), so that one look
 * into a table and one comparison find the code.
 */
const BUCKETS = 512;

/** Nearest-code search over [−1, 1]. */
export interface CodeSearch {
  /** 15 ascending float32 midpoints, then +∞ so that the comparison needs no bound. */
  readonly midpoints: Float32Array;
  /** Midpoints below the bucket of x, `(x + 1) · BUCKETS` rounded down. */
  readonly below: Uint8Array;
  /** Code by the number of midpoints strictly below x. */
  readonly ranks: Uint8Array;
}

function codeSearch(type: QuantType): CodeSearch {
  const ranks = type === 'nf4' ? NF4_RANKS : FP4_RANKS;
  const sorted = Float32Array.from(ranks, (code) => CODES[type][code] as number);
  const midpoints = midpointsOf(sorted);
  const below = new Uint8Array(2 * BUCKETS + 1);
  for (let bucket = 0; bucket < below.length; bucket++) {
    below[bucket] = midpoints.filter((midpoint) => bucketOf(midpoint) < bucket).length;
  }
  return { midpoints: Float32Array.of(...midpoints, Infinity), below, ranks };
}

/** float32 means of neighbours. */
export function midpointsOf(sorted: Float32Array): Float32Array {
  return Float32Array.from(
    { length: sorted.length - 1 },
    (_, i) => Math.fround((sorted[i] as number) + (sorted[i + 1] as number)) / 2,
  );
}

/** Bucket of a normalised value in [−1, 1]. */
export function bucketOf(x: number): number {
  return ((x + 1) * BUCKETS) | 0;
}

export const CODE_SEARCH: Readonly<Record<QuantType, CodeSearch>> = { nf4: codeSearch('nf4'), fp4: codeSearch('fp4') };
