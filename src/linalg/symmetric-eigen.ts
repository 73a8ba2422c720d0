import { tridiagonalise, type Tridiagonal } from './tridiagonal.js';

/** Of a symmetric matrix: S = Σ values[k]·v_k·v_kᵀ, in float64. */
export interface Eigen {
  /** Falling, n of them. */
  readonly values: Float64Array;
  /** `[n, n]`, a vector a row, orthonormal. */
  readonly vectors: Float64Array;
}

/** Rotations that an eigenvalue may take; two or three are usual. */
const MOST_ROTATIONS = 60;

/**
 * Eigenvalues and vectors of a symmetric matrix `[n, n]`, which is left as it was: Householder reflections make it
 * tridiagonal, implicit QR steps with Wilkinson's shift make that diagonal. Values are right to rounding beside the
 * largest. Source: Golub & Van Loan, Matrix Computations, algorithms 8.3.1 to 8.3.3.
 */
export function symmetricEigen(matrix: Float64Array, n: number): Eigen {
  const vectors = new Float64Array(n * n);
  for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
  const tridiagonal = tridiagonalise(Float64Array.from(matrix), n, vectors);
  diagonalise(tridiagonal, n, vectors);
  const order = fallingOrder(tridiagonal.diagonal);
  const sorted = new Float64Array(n * n);
  order.forEach((from, to) => sorted.set(vectors.subarray(from * n, (from + 1) * n), to * n));
  return { values: Float64Array.from(order, (k) => tridiagonal.diagonal[k] as number), vectors: sorted };
}

/** The eigenvalues alone, falling: a fraction of the work. */
export function symmetricEigenvalues(matrix: Float64Array, n: number): Float64Array {
  const tridiagonal = tridiagonalise(Float64Array.from(matrix), n);
  diagonalise(tridiagonal, n);
  return tridiagonal.diagonal.sort().reverse();
}

function fallingOrder(values: Float64Array): number[] {
  return Array.from(values, (_, k) => k).sort((a, b) => (values[b] as number) - (values[a] as number));
}

/** Makes T diagonal in place; rows, where given, are rotated along: at the end they are eigenvectors. */
function diagonalise({ diagonal, beside }: Tridiagonal, n: number, rows?: Float64Array): void {
  let left = MOST_ROTATIONS * n;
  for (let high = n - 1; high > 0 && left > 0;) {
    let low = high;
    while (low > 0 && !negligible(diagonal, beside, low - 1)) low--;
    if (low === high) {
      high--;
      continue;
    }
    left--;
    qrStep(diagonal, beside, low, high, (k, cos, sin) => {
      if (rows !== undefined)
        rotateRows(rows.subarray(k * n, (k + 1) * n), rows.subarray((k + 1) * n, (k + 2) * n), cos, sin);
    });
  }
}

function negligible(diagonal: Float64Array, beside: Float64Array, k: number): boolean {
  return (
    Math.abs(beside[k] as number) <=
    Number.EPSILON * (Math.abs(diagonal[k] as number) + Math.abs(diagonal[k + 1] as number))
  );
}

/** One implicit QR step of the block from `low` to `high`, a chain of rotations of neighbouring rows and columns. */
function qrStep(
  d: Float64Array,
  e: Float64Array,
  low: number,
  high: number,
  rotated: (k: number, cos: number, sin: number) => void,
): void {
  const at = (values: Float64Array, k: number): number => values[k] as number;
  const half = (at(d, high - 1) - at(d, high)) / 2;
  const last = at(e, high - 1);
  const shift = at(d, high) - (last * last) / (half + (half < 0 ? -1 : 1) * Math.sqrt(half * half + last * last));
  let x = at(d, low) - shift;
  let z = at(e, low);
  for (let k = low; k < high; k++) {
    const length = Math.sqrt(x * x + z * z);
    const [cos, sin] = length === 0 ? [1, 0] : [x / length, z / length];
    if (k > low) e[k - 1] = length;
    const [a, b, c] = [at(d, k), at(e, k), at(d, k + 1)];
    d[k] = cos * cos * a + 2 * cos * sin * b + sin * sin * c;
    d[k + 1] = sin * sin * a - 2 * cos * sin * b + cos * cos * c;
    e[k] = cos * sin * (c - a) + (cos * cos - sin * sin) * b;
    if (k + 1 < high) {
      z = sin * at(e, k + 1);
      e[k + 1] = cos * at(e, k + 1);
      x = at(e, k);
    }
    rotated(k, cos, sin);
  }
}

function rotateRows(p: Float64Array, q: Float64Array, cos: number, sin: number): void {
  for (let i = 0; i < p.length; i++) {
    const [x, y] = [p[i] as number, q[i] as number];
    p[i] = cos * x + sin * y;
    q[i] = cos * y - sin * x;
  }
}
