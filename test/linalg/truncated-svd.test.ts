import { describe, expect, it } from 'vitest';
import { truncatedSvd } from '../../src/linalg/truncated-svd.js';
import { Random } from '../../src/random.js';
import { normals } from '../support/numeric.js';

/** U·diag(σ)·Vᵀ with random directions and the given σ. */
function withValues(rows: number, cols: number, sigma: readonly number[], seed = 1): Float32Array {
  const random = new Random(seed, 'svd-test');
  const basis = (n: number): Float64Array[] => {
    const vectors: Float64Array[] = [];
    for (let c = 0; c < sigma.length; c++) {
      const vector = Float64Array.from(normals(random, n));
      for (let pass = 0; pass < 2; pass++) {
        for (const other of vectors) {
          const along = vector.reduce((sum, x, i) => sum + x * (other[i] as number), 0);
          vector.forEach((x, i) => (vector[i] = x - along * (other[i] as number)));
        }
      }
      const length = Math.hypot(...vector);
      vectors.push(vector.map((x) => x / length));
    }
    return vectors;
  };
  const [u, v] = [basis(rows), basis(cols)];
  return Float32Array.from({ length: rows * cols }, (_, at) =>
    sigma.reduce(
      (sum, s, c) =>
        sum +
        s * ((u[c] as Float64Array)[Math.floor(at / cols)] as number) * ((v[c] as Float64Array)[at % cols] as number),
      0,
    ),
  );
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - (b[i] as number))), 0);
}

/** Worst distance of the vectors' products from those of an orthonormal basis. */
function crookedness(at: (vector: number, i: number) => number, count: number, length: number): number {
  let worst = 0;
  for (let a = 0; a < count; a++) {
    for (let b = 0; b <= a; b++) {
      let dot = 0;
      for (let i = 0; i < length; i++) dot += at(a, i) * at(b, i);
      worst = Math.max(worst, Math.abs(dot - (a === b ? 1 : 0)));
    }
  }
  return worst;
}

describe('truncatedSvd', () => {
  it.each([
    { rows: 5, cols: 9, k: 5 },
    { rows: 9, cols: 5, k: 5 },
    { rows: 40, cols: 7, k: 12 },
    { rows: 300, cols: 210, k: 6 },
    { rows: 210, cols: 300, k: 6 },
  ])('takes $rows × $cols apart into orthonormal vectors', ({ rows, cols, k }) => {
    const sigma = Array.from({ length: Math.min(rows, cols, 12) }, (_, i) => 10 * 0.6 ** i);
    const matrix = withValues(rows, cols, sigma);
    const { u, s, vt } = truncatedSvd(matrix, rows, cols, k);
    const rank = Math.min(k, rows, cols);
    expect(s.length).toBe(rank);
    // The matrix is rounded to float32.
    s.forEach((value, i) => expect(Math.abs(value - (sigma[i] as number))).toBeLessThan(1e-5));
    const real = sigma.slice(0, rank).length;
    expect(crookedness((c, i) => u[i * rank + c] as number, real, rows)).toBeLessThan(1e-9);
    expect(crookedness((c, i) => vt[c * cols + i] as number, real, cols)).toBeLessThan(1e-9);
    const again = withValues(
      rows,
      cols,
      sigma.map((value, i) => (i < rank ? value : 0)),
    );
    const product = Float64Array.from({ length: rows * cols }, (_, at) => {
      let sum = 0;
      for (let c = 0; c < rank; c++)
        sum +=
          (u[Math.floor(at / cols) * rank + c] as number) * (s[c] as number) * (vt[c * cols + (at % cols)] as number);
      return sum;
    });
    // What was cut off is smaller than what is left by what the directions were turned.
    if (sigma.length <= rank) expect(largestDifference(product, matrix)).toBeLessThan(1e-5);
    else expect(largestDifference(product, again)).toBeLessThan(1e-3);
  });

  it('gives the same numbers for a seed, and the same subspace for another', () => {
    const matrix = withValues(200, 160, [9, 5, 4, 2, 1, 0.5]);
    const [first, same, other] = [1, 1, 2].map((seed) => truncatedSvd(matrix, 200, 160, 3, { seed })) as [
      ReturnType<typeof truncatedSvd>,
      ReturnType<typeof truncatedSvd>,
      ReturnType<typeof truncatedSvd>,
    ];
    expect(same).toEqual(first);
    expect(largestDifference(other.s, first.s)).toBeLessThan(1e-9);
  });

  it('holds of a flat spectrum nearly as much as there is', () => {
    const random = new Random(4, 'flat');
    const matrix = normals(random, 256 * 256);
    const all = truncatedSvd(matrix, 256, 256, 128);
    const few = truncatedSvd(matrix, 256, 256, 8);
    const energy = (s: Float64Array): number => s.subarray(0, 8).reduce((sum, value) => sum + value * value, 0);
    expect(energy(few.s) / energy(all.s)).toBeGreaterThan(0.99);
    expect(energy(few.s) / energy(all.s)).toBeLessThanOrEqual(1 + 1e-9);
  });

  it('leaves a matrix of zeros at zero', () => {
    const { s, u, vt } = truncatedSvd(new Float32Array(12), 3, 4, 2);
    expect([...s]).toEqual([0, 0]);
    expect([...u, ...vt].every(Number.isFinite)).toBe(true);
  });
});
