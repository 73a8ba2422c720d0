import { truncatedSvd } from '../../../linalg/truncated-svd.js';

/**
 * Random vectors of the decomposition: the same in every run, so that a base that is taken apart again comes out the
 * same.
 */
const SEED = 0;

/** A `[rank, in]` and B `[out, rank]` of the leading part of a matrix: s·B·A = U·diag(σ)·Vᵀ, with √(σ/s) in each. */
export function principal(
  values: Float32Array,
  [out, inner]: readonly [number, number],
  rank: number,
  scale: number,
  steps?: number,
): { a: Float32Array; b: Float32Array } {
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
export function remainder(
  values: Float32Array,
  [out, inner]: readonly [number, number],
  a: Float32Array,
  b: Float32Array,
  rank: number,
  scale: number,
): Float32Array {
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
