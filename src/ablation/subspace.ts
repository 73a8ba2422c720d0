import { multiply, multiplyTransposed, transpose } from '../linalg/matrix-products.js';
import { symmetricEigen, symmetricEigenvalues, type Eigen } from '../linalg/symmetric-eigen.js';

/** A low-rank update of a module: ΔW = scale·B·A, A `[rank, in]`, B `[out, rank]`, row-major. */
export interface LowRankUpdate {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly rank: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly scale: number;
}

/** Squares of singular values below this part of the largest are rounding: float32 factors tell far less apart. */
const ROUNDING = 1e-14;

/**
 * A·Aᵀ = U·Σ²·Uᵀ, `[rank, rank]`: what directions and spectrum have in common. Squares cost half of float64's digits,
 * and what is left is finer than the float32 that A is given in.
 */
export function factorEigen({ a, rank, inFeatures }: Pick<LowRankUpdate, 'a' | 'rank' | 'inFeatures'>): Eigen {
  return symmetricEigen(multiply(a, rank, inFeatures, Float64Array.from(a), rank), rank);
}

/**
 * The right singular directions of A, `[count, in]`, orthonormal rows, that of the largest singular value first, at
 * most `most` of them: Vᵀ = Σ⁻¹·Uᵀ·A. A direction of a value that is rounding alone is all zeros.
 */
export function rightDirections(
  { a, rank, inFeatures }: Pick<LowRankUpdate, 'a' | 'rank' | 'inFeatures'>,
  most = Infinity,
  eigen = factorEigen({ a, rank, inFeatures }),
): Float64Array {
  const count = Math.min(rank, inFeatures, most);
  const directions = multiplyTransposed(a, rank, inFeatures, eigen.vectors.subarray(0, count * rank), count);
  const least = ROUNDING * (eigen.values[0] ?? 0);
  for (let k = 0; k < count; k++) {
    const direction = directions.subarray(k * inFeatures, (k + 1) * inFeatures);
    const value = eigen.values[k] as number;
    const scale = value > least ? 1 / Math.sqrt(direction.reduce((sum, x) => sum + x * x, 0)) : 0;
    for (let j = 0; j < inFeatures; j++) direction[j] = (direction[j] as number) * scale;
  }
  return directions;
}

/**
 * φ(i, j) = ‖U₁[:, :i]ᵀ·U₂[:, :j]‖²_F / min(i, j) for all i ≤ count1, j ≤ count2: 1 where one space holds the other, 0
 * where they are orthogonal. Directions are given as rows, `[count, size]`.
 * @returns `φ[i − 1][j − 1]`. Source: Hu et al. 2021, arXiv:2106.09685, section 7.2.
 */
export function subspaceSimilarity(u1: Float64Array, count1: number, u2: Float64Array, count2: number): number[][] {
  const size = u1.length / count1;
  const products = multiply(u2, count2, size, u1, count1);
  const phi: number[][] = [];
  let above = new Float64Array(count2);
  for (let i = 0; i < count1; i++) {
    // Sums of squares over the block of the first i + 1 rows and j + 1 columns.
    const sums = new Float64Array(count2);
    let row = 0;
    for (let j = 0; j < count2; j++) {
      row += (products[i * count2 + j] as number) ** 2;
      sums[j] = (above[j] as number) + row;
    }
    phi.push(Array.from(sums, (sum, j) => sum / Math.min(i + 1, j + 1)));
    above = sums;
  }
  return phi;
}

/** The mean of tables of the same size, as far as the smallest of them. */
export function meanTable(tables: readonly (readonly (readonly number[])[])[]): number[][] {
  const [first] = tables;
  if (first === undefined) return [];
  const height = Math.min(...tables.map((table) => table.length));
  const width = Math.min(...tables.map((table) => table[0]?.length ?? 0));
  return Array.from({ length: height }, (_, i) =>
    Array.from(
      { length: width },
      (_, j) => tables.reduce((sum, table) => sum + (table[i]?.[j] ?? 0), 0) / tables.length,
    ),
  );
}

/**
 * The singular values of ΔW = scale·B·A, `rank` of them (fewer for a small layer), falling: the roots of the
 * eigenvalues of Σ·Uᵀ·(Bᵀ·B)·U·Σ with A = U·Σ·Vᵀ, which is `[rank, rank]`. ΔW itself is never made.
 */
export function updateSpectrum(
  { a, b, rank, inFeatures, outFeatures, scale }: LowRankUpdate,
  { values, vectors } = factorEigen({ a, rank, inFeatures }),
): number[] {
  const columns = transpose(b, outFeatures, rank);
  const products = multiply(columns, rank, outFeatures, columns, rank);
  const core = multiply(vectors, rank, rank, multiply(products, rank, rank, vectors, rank), rank);
  const sigma = Float64Array.from(values, (value) => Math.sqrt(Math.max(0, value)));
  for (let i = 0; i < rank; i++) {
    // Rounding leaves the two halves a little different.
    for (let j = 0; j <= i; j++)
      core[i * rank + j] = core[j * rank + i] =
        (core[i * rank + j] as number) * (sigma[i] as number) * (sigma[j] as number);
  }
  const squares = symmetricEigenvalues(core, rank).subarray(0, Math.min(rank, inFeatures, outFeatures));
  return Array.from(squares, (square) => Math.abs(scale) * Math.sqrt(Math.max(0, square)));
}
