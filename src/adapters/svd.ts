import { Random } from '../random.js';

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
 * The k leading singular triplets of a row-major matrix: one-sided Jacobi rotations of a small one, else of its projection onto the block
 * Krylov space of k + 8 random vectors. Values that stand out come out to rounding; those that hardly differ from their neighbours to a
 * part of that difference, and their vectors mixed. The same numbers for the same seed, wherever it runs.
 * Source: Musco & Musco 2015, arXiv:1504.05477, algorithm 2; Hestenes 1958 for the rotations.
 */
export function truncatedSvd(matrix: Float32Array, rows: number, cols: number, k: number, { steps = STEPS, seed = 0 }: SvdOptions = {}): Svd {
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
    if (step + 1 < blocks) x = multiplyTransposed(matrix, rows, cols, basis.subarray(step * block * rows, (step + 1) * block * rows), block);
  }
  const projected = multiplyTransposed(matrix, rows, cols, basis, width);
  // The eigenvectors of the projection times its transpose, which is small, are its left singular vectors.
  const { rotations } = jacobi(gram(projected, width, cols), width, width);
  const turned = combine(rotations, projected, width, cols);
  const small = leading({ rows: turned, rotations }, width, cols, width, rank);
  return { u: combineColumns(small.u, basis, width, rows, rank), s: small.s, vt: small.vt };
}

function exact(matrix: Float32Array, rows: number, cols: number, rank: number): Svd {
  if (rows <= cols) return leading(jacobi(Float64Array.from(matrix), rows, cols), rows, cols, rows, rank);
  const turned = leading(jacobi(transpose(matrix, rows, cols), cols, rows), cols, rows, cols, rank);
  return { u: transpose(turned.vt, rank, rows), s: turned.s, vt: transpose(turned.u, cols, rank) };
}

/** `m` rows of `n` values made orthogonal by rotations, and the product of these, `[m, m]`: rotations · matrix = rows. */
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
function leading({ rows, rotations }: { rows: Float64Array; rotations: Float64Array }, m: number, n: number, height: number, k: number): Svd {
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

/** Gram–Schmidt of rows [from, to) against all before them, twice: once leaves what rounding left. */
function orthonormalise(matrix: Float64Array, from: number, to: number, n: number): void {
  for (let p = from; p < to; p++) {
    const row = matrix.subarray(p * n, (p + 1) * n);
    for (let pass = 0; pass < 2; pass++) {
      for (let q = 0; q < p; q++) {
        const other = matrix.subarray(q * n, (q + 1) * n);
        const along = dot(row, other);
        for (let i = 0; i < n; i++) row[i] = (row[i] as number) - along * (other[i] as number);
      }
    }
    const length = Math.sqrt(dot(row, row));
    const scale = length > 0 ? 1 / length : 0;
    for (let i = 0; i < n; i++) row[i] = (row[i] as number) * scale;
  }
}

function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i] as number) * (y[i] as number);
  return sum;
}

/** x·xᵀ for m rows of n values. */
function gram(x: Float64Array, m: number, n: number): Float64Array {
  const out = new Float64Array(m * m);
  for (let p = 0; p < m; p++) {
    for (let q = 0; q <= p; q++) {
      const value = dot(x.subarray(p * n, (p + 1) * n), x.subarray(q * n, (q + 1) * n));
      out[p * m + q] = value;
      out[q * m + p] = value;
    }
  }
  return out;
}

/** weights `[m, m]` times m rows of n values. */
function combine(weights: Float64Array, x: Float64Array, m: number, n: number): Float64Array {
  const out = new Float64Array(m * n);
  for (let p = 0; p < m; p++) {
    for (let q = 0; q < m; q++) addTo(out.subarray(p * n, (p + 1) * n), weights[p * m + q] as number, x.subarray(q * n, (q + 1) * n));
  }
  return out;
}

/** Columns `[n, k]`: those of xᵀ `[n, m]` times weights `[m, k]`. */
function combineColumns(weights: Float64Array, x: Float64Array, m: number, n: number, k: number): Float64Array {
  const out = new Float64Array(n * k);
  const column = new Float64Array(n);
  for (let c = 0; c < k; c++) {
    column.fill(0);
    for (let q = 0; q < m; q++) addTo(column, weights[q * k + c] as number, x.subarray(q * n, (q + 1) * n));
    for (let i = 0; i < n; i++) out[i * k + c] = column[i] as number;
  }
  return out;
}

function addTo(sum: Float64Array, weight: number, x: Float64Array): void {
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + weight * (x[i] as number);
}

/** Four rows of the matrix at a time, widened: what is read of a basis then serves four products. */
function fourRows(matrix: Float32Array, first: number, rows: number, cols: number): [Float64Array, Float64Array, Float64Array, Float64Array] {
  const row = (i: number): Float64Array => (i < rows ? Float64Array.from(matrix.subarray(i * cols, (i + 1) * cols)) : new Float64Array(cols));
  return [row(first), row(first + 1), row(first + 2), row(first + 3)];
}

/** M·xᵀ, transposed: `[width, rows]` for x `[width, cols]`. */
function multiply(matrix: Float32Array, rows: number, cols: number, x: Float64Array, width: number): Float64Array {
  const out = new Float64Array(width * rows);
  for (let i = 0; i < rows; i += 4) {
    const [r0, r1, r2, r3] = fourRows(matrix, i, rows, cols);
    for (let c = 0; c < width; c++) {
      const vector = x.subarray(c * cols, (c + 1) * cols);
      let [s0, s1, s2, s3] = [0, 0, 0, 0];
      for (let j = 0; j < cols; j++) {
        const value = vector[j] as number;
        s0 += value * (r0[j] as number);
        s1 += value * (r1[j] as number);
        s2 += value * (r2[j] as number);
        s3 += value * (r3[j] as number);
      }
      out[c * rows + i] = s0;
      if (i + 1 < rows) out[c * rows + i + 1] = s1;
      if (i + 2 < rows) out[c * rows + i + 2] = s2;
      if (i + 3 < rows) out[c * rows + i + 3] = s3;
    }
  }
  return out;
}

/** y·M: `[width, cols]` for y `[width, rows]`. */
function multiplyTransposed(matrix: Float32Array, rows: number, cols: number, y: Float64Array, width: number): Float64Array<ArrayBuffer> {
  const out = new Float64Array(width * cols);
  for (let i = 0; i < rows; i += 4) {
    const [r0, r1, r2, r3] = fourRows(matrix, i, rows, cols);
    for (let c = 0; c < width; c++) {
      const sum = out.subarray(c * cols, (c + 1) * cols);
      const weight = (k: number): number => (i + k < rows ? (y[c * rows + i + k] as number) : 0);
      const [w0, w1, w2, w3] = [weight(0), weight(1), weight(2), weight(3)];
      for (let j = 0; j < cols; j++) {
        sum[j] = (sum[j] as number) + (w0 * (r0[j] as number) + w1 * (r1[j] as number) + (w2 * (r2[j] as number) + w3 * (r3[j] as number)));
      }
    }
  }
  return out;
}

function transpose(matrix: ArrayLike<number>, rows: number, cols: number): Float64Array {
  const out = new Float64Array(rows * cols);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out[j * rows + i] = matrix[i * cols + j] as number;
  return out;
}
