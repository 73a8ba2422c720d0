/**
 * R of M = Q·R by Householder reflections, in float64: `[k, cols]` with k = min(rows, cols), upper triangular, row-major; M `[rows, cols]`.
 * R has the singular values and right singular vectors of M. Source: Golub & Van Loan, Matrix Computations, algorithm 5.2.1.
 */
export function triangularFactor(matrix: ArrayLike<number>, rows: number, cols: number): Float64Array {
  const m = Float64Array.from(matrix);
  const k = Math.min(rows, cols);
  const v = new Float64Array(rows);
  for (let p = 0; p < k; p++) {
    let squares = 0;
    for (let i = p; i < rows; i++) squares += (m[i * cols + p] as number) ** 2;
    const head = m[p * cols + p] as number;
    // The sign that cancels nothing.
    const alpha = head > 0 ? -Math.sqrt(squares) : Math.sqrt(squares);
    if (alpha === 0) continue;
    for (let i = p; i < rows; i++) v[i] = m[i * cols + p] as number;
    v[p] = head - alpha;
    const length = squares - head * head + (v[p] as number) ** 2;
    for (let j = p; j < cols; j++) {
      let along = 0;
      for (let i = p; i < rows; i++) along += (v[i] as number) * (m[i * cols + j] as number);
      const factor = (2 * along) / length;
      for (let i = p; i < rows; i++) m[i * cols + j] = (m[i * cols + j] as number) - factor * (v[i] as number);
    }
  }
  const r = new Float64Array(k * cols);
  for (let i = 0; i < k; i++) for (let j = i; j < cols; j++) r[i * cols + j] = m[i * cols + j] as number;
  return r;
}
