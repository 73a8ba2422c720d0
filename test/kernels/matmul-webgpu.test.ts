import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { linear, type LowRank } from '../../kernels/index.js';
import { matmul } from '../../kernels/matmul/kernel.js';
import type { MatmulForm } from '../../kernels/matmul/form.js';
import { quantizedMatmul } from '../../kernels/nf4-matmul/kernel.js';
import { disposeWeight, uploadQuantized } from '../../kernels/nf4-dequantize/weight.js';
import { chooseVariant, kernelVariant, setKernelVariant, type KernelVariant } from '../../kernels/runtime/variant.js';
import { gpuHas } from '../../kernels/runtime/webgpu/dispatch.js';
import { quantize4bit, dequantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { expectClose, expectNoLeak, normals } from '../support/numeric.js';

// float32 sums of at most 1100 products of normal numbers, in an order of their own.
const TOLERANCE = 2e-5;
// float16 tiles: 2^-11 relative in each factor, over sums of 70 products.
const HALF_TOLERANCE = 1e-2;
// The compiler of a software device takes seconds for a pipeline.
const PATIENCE = 300_000;

/** float64 sums: op(x) · op(w) as [m, n]. */
function product(x: Float32Array, w: Float32Array, form: MatmulForm, m: number, n: number, k: number): Float32Array {
  const out = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let c = 0; c < k; c++)
        sum +=
          (x[form === 'tn' ? c * m + i : i * k + c] as number) * (w[form === 'nt' ? j * k + c : c * n + j] as number);
      out[i * n + j] = sum;
    }
  }
  return out;
}

async function check(form: MatmulForm, m: number, n: number, k: number, tolerance: number): Promise<void> {
  const random = new Random(m * 10007 + n * 101 + k);
  const [xs, ws] = [normals(random, m * k), normals(random, n * k)];
  await expectNoLeak(async () => {
    const x = tf.tensor2d(xs, form === 'tn' ? [k, m] : [m, k]);
    const w = tf.tensor2d(ws, form === 'nt' ? [n, k] : [k, n]);
    const y = matmul(x, w, form, 0.5);
    const actual = await y.data();
    expectClose(
      actual,
      product(xs, ws, form, m, n, k).map((v) => v / 2),
      tolerance,
      `${form} [${m}, ${n}] over ${k}`,
    );
    tf.dispose([x, w, y]);
  });
}

describeBackends('WebGPU products', ['webgpu', 'tiles'], () => {
  let own: KernelVariant;
  beforeEach(() => {
    own = kernelVariant();
  });
  afterEach(() => {
    setKernelVariant(own);
  });

  // One shape a tile, then one with no multiple of anything, then k past one step of every lane.
  it.each([
    ['nt', 68, 132, 36],
    ['nn', 68, 132, 36],
    ['tn', 68, 132, 36],
    ['tn', 12, 68, 37],
    ['tn', 68, 12, 37],
    ['nn', 3, 68, 1100],
    ['nt', 45, 39, 71],
    ['nn', 45, 39, 71],
    // Large tiles: as many as keep a large GPU busy.
    ['nn', 1290, 1032, 20],
  ] as const)('multiplies by tiles: %s [%i, %i] over %i', (form, m, n, k) => check(form, m, n, k, TOLERANCE), PATIENCE);

  it.each([
    ['nt', 1, 70, 1100],
    ['nt', 3, 129, 71],
    ['nt', 8, 33, 260],
    ['nt', 70, 12, 260],
    ['nn', 70, 12, 260],
    ['nn', 9, 1, 7],
  ] as const)(
    'multiplies few rows or columns: %s [%i, %i] over %i',
    (form, m, n, k) => check(form, m, n, k, TOLERANCE),
    PATIENCE,
  );

  it.each([
    ['f16', 'nt', 68, 36, 70],
    ['subgroups', 'nt', 3, 70, 260],
    ['subgroups', 'nn', 70, 12, 260],
  ] as const)(
    'variant %s: %s [%i, %i] over %i',
    async (variant: KernelVariant, form, m, n, k) => {
      setKernelVariant(variant);
      if (!gpuHas(tf.backend(), variant === 'f16' ? 'shader-f16' : variant)) {
        expect(() => chooseVariant(tf.backend())).toThrow(/needs the WebGPU feature/);
        return;
      }
      expect(chooseVariant(tf.backend()).name).toBe(variant);
      await check(form, m, n, k, variant === 'f16' ? HALF_TOLERANCE : TOLERANCE);
    },
    PATIENCE,
  );

  it.each([1, 21])(
    'adds bias and low-rank update to a 4-bit product of %i tokens',
    async (tokens) => {
      const random = new Random(tokens);
      const [out, inner, rank] = [44, 72, 5];
      const host = quantize4bit(normals(random, out * inner, 0.05), [out, inner], {
        quantType: 'nf4',
        blockSize: 64,
        doubleQuant: true,
        dtype: 'BF16',
      });
      const [xs, bs, as, lows] = [
        normals(random, tokens * inner),
        normals(random, out),
        normals(random, rank * inner),
        normals(random, out * rank),
      ];
      const base = product(xs, dequantize4bit(host), 'nt', tokens, out, inner);
      const low = product(product(xs, as, 'nt', tokens, rank, inner), lows, 'nt', tokens, out, rank);
      const expected = base.map((v, i) => v + (bs[i % out] as number) + 0.25 * (low[i] as number));
      const weight = uploadQuantized(host);
      const lora: LowRank = { a: tf.tensor2d(as, [rank, inner]), b: tf.tensor2d(lows, [out, rank]), scale: 0.25 };
      const x = tf.tensor2d(xs, [tokens, inner]);
      const bias = tf.tensor1d(bs);
      const y = linear(x, weight, { bias, lora });
      const plain = quantizedMatmul(x, weight);
      expectClose(await y.data(), expected, TOLERANCE, 'y');
      expectClose(await plain.data(), base, TOLERANCE, 'x·Wᵀ');
      disposeWeight(weight);
      tf.dispose([x, bias, lora.a, lora.b, y, plain]);
    },
    PATIENCE,
  );
});
