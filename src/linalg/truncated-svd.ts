import { Random } from '../random.js';
import {
  combine,
  combineColumns,
  gram,
  multiply,
  multiplyTransposed,
  orthonormalise,
  transpose,
} from './matrix-products.js';
import { symmetricEigen } from './symmetric-eigen.js';

/** The leading part of M ≈ U·diag(σ)·Vᵀ, in float64. */
export interface Svd {
  /** `[rows, k]`, orthonormal columns, row-major. */
  readonly u: Float64Array;
  /** σ₁ ≥ σ₂ ≥ …, k of them. */
  readonly s: Float64Array;
  /** `[k, cols]`, orthonormal rows. */
  readonly vt: Float64Array;
}

export interface SvdOptions {
  /** Steps from the random vectors; each costs two products with the matrix. */
  readonly steps?: number | undefined;
  readonly seed?: number;
}

/** A matrix whose shorter side is at most this is taken apart as a whole. */
const EXACT = 128;
const STEPS = 6;
/** Random vectors beside the k that are wanted. */
const SPARE = 8;

/**
 * The k leading singular triplets of a row-major matrix: one-sided Jacobi rotations of a small one, else of its
 * projection onto the block Krylov space of k + 8 random vectors. Values that stand out come out to rounding; those
 * that hardly differ from their neighbours to a part of that difference, and their vectors mixed. The same numbers for
 * the same seed, wherever it runs. Source: Musco & Musco 2015, arXiv:1504.05477, algorithm 2; Hestenes 1958 for the
 * rotations.
 */
export function truncatedSvd(
  matrix: Float32Array,
  rows: number,
  cols: number,
  k: number,
  { steps = STEPS, seed = 0 }: SvdOptions = {},
): Svd {
  const shorter = Math.min(rows, cols);
  const rank = Math.min(k, shorter);
  const block = rank + SPARE;
  if (shorter <= EXACT || 2 * block > shorter) return exact(matrix, rows, cols, rank);
  // Bases are kept as rows: each vector lies together.
  const blocks = Math.min(steps + 1, Math.floor(shorter / block));
  const width = blocks * block;
  const basis = new Float64Array(width * rows);
  const random = new Random(seed, 'svd');
  let x = Float64Array.from({ length: block * cols }, () => random.normal());
  for (let step = 0; step < blocks; step++) {
    basis.set(multiply(matrix, rows, cols, x, block), step * block * rows);
    orthonormalise(basis, step * block, (step + 1) * block, rows);
    if (step + 1 < blocks)
      x = multiplyTransposed(matrix, rows, cols, basis.subarray(step * block * rows, (step + 1) * block * rows), block);
  }
  const projected = multiplyTransposed(matrix, rows, cols, basis, width);
  // The eigenvectors of the projection times its transpose, which is small, are its left singular vectors.
  const { vectors } = symmetricEigen(gram(projected, width, cols), width);
  const turned = combine(vectors, projected, width, cols);
  const small = leading({ rows: turned, rotations: vectors }, width, cols, width, rank);
  return { u: combineColumns(small.u, basis, width, rows, rank), s: small.s, vt: small.vt };
}

function exact(matrix: Float32Array, rows: number, cols: number, rank: number): Svd {
  if (rows <= cols) return leading(jacobi(Float64Array.from(matrix), rows, cols), rows, cols, rows, rank);
  const turned = leading(jacobi(transpose(matrix, rows, cols), cols, rows), cols, rows, cols, rank);
  return { u: transpose(turned.vt, rank, rows), s: turned.s, vt: transpose(turned.u, cols, rank) };
}

/**
 * `m` rows of `n` values made orthogonal by rotations, and the product of these, `[m, m]`: rotations · matrix = rows.
 */
function jacobi(matrix: Float64Array, m: number, n: number): { rows: Float64Array; rotations: Float64Array } {
  const rotations = new Float64Array(m * m);
  for (let i = 0; i < m; i++) rotations[i * m + i] = 1;
  for (let sweep = 0; sweep < 40; sweep++) {
    let turned = false;
    for (let p = 0; p + 1 < m; p++) {
      for (let q = p + 1; q < m; q++) {
        const [a, b, c] = products(matrix, p, q, n);
        if (c === 0 || Math.abs(c) <= 1e-15 * Math.sqrt(a * b)) continue;
        turned = true;
        const zeta = (b - a) / (2 * c);
        const t = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const cos = 1 / Math.sqrt(1 + t * t);
        rotate(matrix, p, q, n, cos, cos * t);
        rotate(rotations, p, q, m, cos, cos * t);
      }
    }
    if (!turned) break;
  }
  return { rows: matrix, rotations };
}

/** ‖row p‖², ‖row q‖² and their product. */
function products(matrix: Float64Array, p: number, q: number, n: number): [number, number, number] {
  let [a, b, c] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const x = matrix[p * n + i] as number;
    const y = matrix[q * n + i] as number;
    a += x * x;
    b += y * y;
    c += x * y;
  }
  return [a, b, c];
}

function rotate(matrix: Float64Array, p: number, q: number, n: number, cos: number, sin: number): void {
  for (let i = 0; i < n; i++) {
    const x = matrix[p * n + i] as number;
    const y = matrix[q * n + i] as number;
    matrix[p * n + i] = cos * x - sin * y;
    matrix[q * n + i] = sin * x + cos * y;
  }
}

/** The k longest of m orthogonal rows as singular vectors; u is what of the rotations belongs to them. */
function leading(
  { rows, rotations }: { rows: Float64Array; rotations: Float64Array },
  m: number,
  n: number,
  height: number,
  k: number,
): Svd {
  const lengths = norms(rows, m, n);
  const order = Array.from({ length: m }, (_, i) => i).sort((a, b) => (lengths[b] as number) - (lengths[a] as number));
  const [u, s, vt] = [new Float64Array(height * k), new Float64Array(k), new Float64Array(k * n)];
  for (let c = 0; c < k; c++) {
    const row = order[c] as number;
    const sigma = lengths[row] as number;
    s[c] = sigma;
    for (let i = 0; i < height; i++) u[i * k + c] = rotations[row * m + i] as number;
    if (sigma > 0) for (let i = 0; i < n; i++) vt[c * n + i] = (rows[row * n + i] as number) / sigma;
  }
  return { u, s, vt };
}

function norms(matrix: Float64Array, m: number, n: number): Float64Array {
  return Float64Array.from({ length: m }, (_, i) => Math.sqrt(products(matrix, i, i, n)[0]));
}
