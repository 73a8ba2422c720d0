/** Of a diagonal matrix with one more diagonal beside it. */
export interface Tridiagonal {
  readonly diagonal: Float64Array;
  readonly beside: Float64Array;
}

/**
 * S = Q·T·Qᵀ by Householder reflections, S `[n, n]` being symmetric and overwritten; `rows`, the identity before,
 * becomes Qᵀ. Source: Golub & Van Loan, Matrix Computations, algorithm 8.3.1.
 */
export function tridiagonalise(s: Float64Array, n: number, rows?: Float64Array): Tridiagonal {
  const [diagonal, beside] = [new Float64Array(n), new Float64Array(n)];
  const reflections: { readonly v: Float64Array; readonly beta: number }[] = [];
  for (let k = 0; k + 1 < n; k++) {
    const first = k + 1;
    const { v, beta, alpha } = reflection(s.subarray(k * n + first, (k + 1) * n));
    diagonal[k] = s[k * n + k] as number;
    beside[k] = alpha;
    reflections.push({ v, beta });
    if (beta !== 0) reflectBothSides(s, n, first, v, beta);
  }
  if (n > 0) diagonal[n - 1] = s[n * n - 1] as number;
  // Qᵀ = … H₁·H₀: applied to the identity from the right, the last first, each meets only rows that it fills.
  if (rows !== undefined)
    for (let k = reflections.length - 1; k >= 0; k--)
      reflectRows(rows, n, k + 1, reflections[k] as (typeof reflections)[number]);
  return { diagonal, beside };
}

/** v and β with (1 − β·v·vᵀ)·x = α·e₀. */
function reflection(x: Float64Array): { v: Float64Array; beta: number; alpha: number } {
  const v = Float64Array.from(x);
  const head = v[0] as number;
  let tail = 0;
  for (let i = 1; i < v.length; i++) tail += (v[i] as number) ** 2;
  if (tail === 0) return { v, beta: 0, alpha: head };
  const length = Math.sqrt(head * head + tail);
  // The sign that cancels nothing.
  const alpha = head > 0 ? -length : length;
  v[0] = head - alpha;
  return { v, beta: 2 / (tail + (head - alpha) ** 2), alpha };
}

/** H·S·H of the block from row and column `first` on: S − v·wᵀ − w·vᵀ with w = β·S·v − (β²·vᵀ·S·v / 2)·v. */
function reflectBothSides(s: Float64Array, n: number, first: number, v: Float64Array, beta: number): void {
  const size = n - first;
  const w = new Float64Array(size);
  let along = 0;
  for (let i = 0; i < size; i++) {
    const row = s.subarray((first + i) * n + first, (first + i + 1) * n);
    let sum = 0;
    for (let j = 0; j < size; j++) sum += (row[j] as number) * (v[j] as number);
    w[i] = beta * sum;
    along += (v[i] as number) * beta * sum;
  }
  for (let i = 0; i < size; i++) w[i] = (w[i] as number) - (beta / 2) * along * (v[i] as number);
  for (let i = 0; i < size; i++) {
    const row = s.subarray((first + i) * n + first, (first + i + 1) * n);
    const [vi, wi] = [v[i] as number, w[i] as number];
    for (let j = 0; j < size; j++) row[j] = (row[j] as number) - (vi * (w[j] as number) + wi * (v[j] as number));
  }
}

/** M·H of the columns from `first` on; earlier rows have zeros there. */
function reflectRows(
  rows: Float64Array,
  n: number,
  first: number,
  { v, beta }: { readonly v: Float64Array; readonly beta: number },
): void {
  if (beta === 0) return;
  for (let i = first; i < n; i++) {
    const row = rows.subarray(i * n + first, (i + 1) * n);
    let along = 0;
    for (let j = 0; j < row.length; j++) along += (row[j] as number) * (v[j] as number);
    along *= beta;
    for (let j = 0; j < row.length; j++) row[j] = (row[j] as number) - along * (v[j] as number);
  }
}
