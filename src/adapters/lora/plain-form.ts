import { float32Tensor, type TensorBytes } from '../../io/safetensors.js';
import type { LoraLayout } from './layout.js';
import type { LoraLinear } from './linear.js';
import type { LoraConfig } from './config.js';

/** Whether an adapter's base was changed by what its files do not hold, so that they hold another form of it. */
export function isPissa(config: Pick<LoraConfig, 'initLoraWeights'>): boolean {
  return typeof config.initLoraWeights === 'string' && config.initLoraWeights.startsWith('pissa');
}

/**
 * What the files say of an adapter that started with PiSSA: a plain LoRA of twice the rank and the same scale on the
 * base as it was, B' = (B | −B₀) and A' = (A over A₀), so that s·B'·A' is what training added. After a base in 4 bits
 * the two differ by what the second quantisation of the rest lost.
 */
export function plainConfig(config: LoraConfig, { updates }: LoraLayout): LoraConfig {
  if (!isPissa(config)) return config;
  const factor = config.useRslora ? Math.SQRT2 : 2;
  const times = (pattern: Readonly<Record<string, number>>, by: number): Record<string, number> =>
    Object.fromEntries(Object.entries(pattern).map(([key, value]) => [key, value * by]));
  // An embedding starts from noise and keeps its rank and alpha: named before all others, it is found first.
  const kept = updates.filter(({ kind }) => kind === 'embedding');
  const own = (value: (update: LoraLayout['updates'][number]) => number): Record<string, number> =>
    Object.fromEntries(kept.map((update) => [update.module.replaceAll('.', String.raw`\.`), value(update)]));
  return {
    ...config,
    r: 2 * config.r,
    loraAlpha: config.loraAlpha * factor,
    rankPattern: { ...own(({ rank }) => rank), ...times(config.rankPattern, 2) },
    alphaPattern: {
      ...own(({ rank, scale }) => scale * (config.useRslora ? Math.sqrt(rank) : rank)),
      ...times(config.alphaPattern, factor),
    },
    initLoraWeights: true,
  };
}

/** The forms of A and B in the files. */
export function plainForms(layer: LoraLinear): {
  a: (values: Float32Array) => TensorBytes;
  b: (values: Float32Array) => TensorBytes;
} {
  const initial = (factor: 'a' | 'b'): Float32Array => {
    if (layer.initial === undefined)
      throw new Error(`${layer.name}: an adapter is saved before it has its values: call initialize() first`);
    return layer.initial[factor];
  };
  return {
    a: (values) => stacked(values, initial('a'), layer.a.shape),
    b: (values) => beside(values, initial('b'), layer.b.shape),
  };
}

/** `[r, n]` over `[r, n]`. */
function stacked(
  values: ArrayLike<number>,
  initial: Float32Array,
  [rank, width]: readonly [number, number],
): TensorBytes {
  const both = new Float32Array(2 * rank * width);
  both.set(values);
  both.set(initial, rank * width);
  return float32Tensor([2 * rank, width], both);
}

/** `[n, r]` beside the negative of `[n, r]`. */
function beside(
  values: ArrayLike<number>,
  initial: Float32Array,
  [height, rank]: readonly [number, number],
): TensorBytes {
  const both = new Float32Array(2 * rank * height);
  for (let i = 0; i < height; i++) {
    for (let c = 0; c < rank; c++) {
      both[2 * i * rank + c] = values[i * rank + c] as number;
      both[2 * i * rank + rank + c] = -(initial[i * rank + c] as number);
    }
  }
  return float32Tensor([height, 2 * rank], both);
}
