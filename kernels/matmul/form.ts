/**
 * Which operands are taken as stored: `nt` is x `[n, k]` · w `[m, k]`ᵀ, `nn` is x `[n, k]` · w `[k, m]`, `tn` is
 * x `[k, n]`ᵀ · w `[k, m]`. All give `[n, m]`.
 */
export type MatmulForm = 'nt' | 'nn' | 'tn';

export interface MatmulSizes {
  readonly n: number;
  readonly m: number;
  /** Summed length as x states it, and as w does. */
  readonly inner: number;
  readonly innerOfW: number;
}

export function matmulSizes(x: readonly number[], w: readonly number[], form: MatmulForm): MatmulSizes {
  const [x0, x1, w0, w1] = [x[0] as number, x[1] as number, w[0] as number, w[1] as number];
  if (form === 'nt') return { n: x0, m: w0, inner: x1, innerOfW: w1 };
  if (form === 'nn') return { n: x0, m: w1, inner: x1, innerOfW: w0 };
  return { n: x1, m: w1, inner: x0, innerOfW: w0 };
}
