// Products of tall and wide matrices in float64, with rows that lie together.

type Matrix = Float32Array | Float64Array;

/** Gram–Schmidt of rows [from, to) against all before them, twice: once leaves what rounding left. */
export function orthonormalise(matrix: Float64Array, from: number, to: number, n: number): void {
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
export function gram(x: Float64Array, m: number, n: number): Float64Array {
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
export function combine(weights: Float64Array, x: Float64Array, m: number, n: number): Float64Array {
  const out = new Float64Array(m * n);
  for (let p = 0; p < m; p++) {
    for (let q = 0; q < m; q++)
      addTo(out.subarray(p * n, (p + 1) * n), weights[p * m + q] as number, x.subarray(q * n, (q + 1) * n));
  }
  return out;
}

/** Columns `[n, k]`: those of xᵀ `[n, m]` times weights `[m, k]`. */
export function combineColumns(weights: Float64Array, x: Float64Array, m: number, n: number, k: number): Float64Array {
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
function fourRows(
  matrix: Matrix,
  first: number,
  rows: number,
  cols: number,
): [Float64Array, Float64Array, Float64Array, Float64Array] {
  const row = (i: number): Float64Array =>
    i < rows ? Float64Array.from(matrix.subarray(i * cols, (i + 1) * cols)) : new Float64Array(cols);
  return [row(first), row(first + 1), row(first + 2), row(first + 3)];
}

/** M·xᵀ, transposed: `[width, rows]` for x `[width, cols]`. */
export function multiply(matrix: Matrix, rows: number, cols: number, x: Float64Array, width: number): Float64Array {
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
export function multiplyTransposed(
  matrix: Matrix,
  rows: number,
  cols: number,
  y: Float64Array,
  width: number,
): Float64Array<ArrayBuffer> {
  const out = new Float64Array(width * cols);
  for (let i = 0; i < rows; i += 4) {
    const [r0, r1, r2, r3] = fourRows(matrix, i, rows, cols);
    for (let c = 0; c < width; c++) {
      const sum = out.subarray(c * cols, (c + 1) * cols);
      const weight = (k: number): number => (i + k < rows ? (y[c * rows + i + k] as number) : 0);
      const [w0, w1, w2, w3] = [weight(0), weight(1), weight(2), weight(3)];
      for (let j = 0; j < cols; j++) {
        sum[j] =
          (sum[j] as number) +
          (w0 * (r0[j] as number) + w1 * (r1[j] as number) + (w2 * (r2[j] as number) + w3 * (r3[j] as number)));
      }
    }
  }
  return out;
}

export function transpose(matrix: ArrayLike<number>, rows: number, cols: number): Float64Array {
  const out = new Float64Array(rows * cols);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out[j * rows + i] = matrix[i * cols + j] as number;
  return out;
}
