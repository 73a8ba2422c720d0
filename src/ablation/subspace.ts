import { truncatedSvd } from '../adapters/svd.js';
import { triangularFactor } from './qr.js';

/** A low-rank update of a module: ΔW = scale·B·A, A `[rank, in]`, B `[out, rank]`, row-major. */
export interface LowRankUpdate {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly rank: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly scale: number;
}

/**
 * The right singular directions of A, `[rank, in]`, orthonormal rows, that of the largest singular value first. Aᵀ = Q·R, so A and Rᵀ,
 * which is `[rank, rank]`, have the same left ones: U·Σ·Vᵀ = A gives Vᵀ = Σ⁻¹·Uᵀ·A.
 */
export function rightDirections({ a, rank, inFeatures }: Pick<LowRankUpdate, 'a' | 'rank' | 'inFeatures'>): Float64Array {
  const count = Math.min(rank, inFeatures);
  const r = triangularFactor(turned(a, rank, inFeatures), inFeatures, rank);
  const { u, s } = truncatedSvd(Float32Array.from(turned(r, count, rank)), rank, count, count);
  const directions = new Float64Array(count * inFeatures);
  for (let k = 0; k < count; k++) {
    const sigma = s[k] as number;
    if (sigma === 0) continue;
    const direction = directions.subarray(k * inFeatures, (k + 1) * inFeatures);
    for (let row = 0; row < rank; row++) {
      const weight = (u[row * count + k] as number) / sigma;
      for (let j = 0; j < inFeatures; j++) direction[j] = (direction[j] as number) + weight * (a[row * inFeatures + j] as number);
    }
  }
  return directions;
}

/** `[rows, cols]` to `[cols, rows]`. */
function turned(matrix: ArrayLike<number>, rows: number, cols: number): Float64Array {
  return Float64Array.from({ length: rows * cols }, (_, k) => matrix[(k % rows) * cols + Math.floor(k / rows)] as number);
}

/**
 * φ(i, j) = ‖U₁[:, :i]ᵀ·U₂[:, :j]‖²_F / min(i, j) for all i ≤ count1, j ≤ count2: 1 where one space holds the other, 0 where they are
 * orthogonal. Directions are given as rows, `[count, size]`.
 * @returns `φ[i − 1][j − 1]`. Source: Hu et al. 2021, arXiv:2106.09685, section 7.2.
 */
export function subspaceSimilarity(u1: Float64Array, count1: number, u2: Float64Array, count2: number): number[][] {
  const size = u1.length / count1;
  const phi: number[][] = [];
  let above = new Float64Array(count2);
  for (let i = 0; i < count1; i++) {
    // Sums of squares over the block of the first i + 1 rows and j + 1 columns.
    const sums = new Float64Array(count2);
    let row = 0;
    for (let j = 0; j < count2; j++) {
      let product = 0;
      for (let d = 0; d < size; d++) product += (u1[i * size + d] as number) * (u2[j * size + d] as number);
      row += product * product;
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
  return Array.from({ length: height }, (_, i) => Array.from({ length: width }, (_, j) => tables.reduce((sum, table) => sum + (table[i]?.[j] ?? 0), 0) / tables.length));
}

/**
 * The singular values of ΔW = scale·B·A, `rank` of them (fewer for a small layer), falling. B = Q₁·R₁ and Aᵀ = Q₂·R₂, so they are those
 * of R₁·R₂ᵀ, which is `[rank, rank]`: ΔW itself is never made.
 */
export function updateSpectrum({ a, b, rank, inFeatures, outFeatures, scale }: LowRankUpdate): number[] {
  const [left, right] = [triangularFactor(b, outFeatures, rank), triangularFactor(turned(a, rank, inFeatures), inFeatures, rank)];
  const [rows, cols] = [Math.min(outFeatures, rank), Math.min(inFeatures, rank)];
  const core = new Float32Array(rows * cols);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) {
      let sum = 0;
      for (let k = 0; k < rank; k++) sum += (left[i * rank + k] as number) * (right[j * rank + k] as number);
      core[i * cols + j] = sum;
    }
  }
  return Array.from(truncatedSvd(core, rows, cols, Math.min(rows, cols)).s, (value) => Math.abs(scale) * value);
}
