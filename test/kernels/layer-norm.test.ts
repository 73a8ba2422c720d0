import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { layerNorm, valueAndGradients, withKernelMode } from '../../kernels/index.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { centralDifferences, expectClose, expectNoLeak, normals } from '../support/numeric.js';

// float32 sums of at most 577 products: 1e-5 relative leaves room for the order of summation.
const TOLERANCE = 1e-5;
const SHAPES = [
  [1, 2],
  [3, 7],
  [5, 64],
  [2, 577],
  [67, 33],
] as const;
const EPS = 1e-5;

/** y, and of Σ c·y the gradients by x, weight and bias, in float64. */
function exact(x: Float32Array, w: Float32Array, b: Float32Array, c: Float32Array): number[][] {
  const dim = w.length;
  const [y, dx] = [new Array<number>(x.length).fill(0), new Array<number>(x.length).fill(0)];
  const [dw, db] = [new Array<number>(dim).fill(0), new Array<number>(dim).fill(0)];
  const mean = (values: readonly number[]): number => values.reduce((sum, v) => sum + v, 0) / dim;
  for (let at = 0; at < x.length; at += dim) {
    const row = [...x.subarray(at, at + dim)];
    const centre = mean(row);
    const rstd = 1 / Math.sqrt(mean(row.map((v) => (v - centre) ** 2)) + EPS);
    const normal = row.map((v) => (v - centre) * rstd);
    const g = normal.map((_, i) => (c[at + i] as number) * (w[i] as number));
    const [m, k] = [mean(g), mean(g.map((v, i) => v * (normal[i] as number)))];
    normal.forEach((n, i) => {
      const d = c[at + i] as number;
      y[at + i] = n * (w[i] as number) + (b[i] as number);
      dx[at + i] = rstd * ((g[i] as number) - m - n * k);
      dw[i] = (dw[i] as number) + d * n;
      db[i] = (db[i] as number) + d;
    });
  }
  return [y, dx, dw, db];
}

describeBackends('layerNorm', ['cpu', 'wasm', 'webgpu', 'tiles'], () => {
  it.each(SHAPES)('equals the reference and float64, forward and backward, at [%i, %i]', async (rows, dim) => {
    const random = new Random(rows * 1000 + dim);
    // A mean of 3 that a one-pass variance would feel.
    const x0 = normals(random, rows * dim).map((v) => v + 3);
    const [w0, b0, c0] = [normals(random, dim), normals(random, dim), normals(random, rows * dim)];
    const expected = exact(x0, w0, b0, c0);
    await expectNoLeak(async () => {
      for (const mode of ['auto', 'reference'] as const) {
        const [x, w, b, c] = [
          tf.tensor2d(x0, [rows, dim]),
          tf.tensor1d(w0),
          tf.tensor1d(b0),
          tf.tensor2d(c0, [rows, dim]),
        ];
        const y = withKernelMode(mode, () => layerNorm(x, w, b, EPS));
        const { value, gradients } = withKernelMode(mode, () =>
          valueAndGradients(() => tf.sum(tf.mul(layerNorm(x, w, b, EPS), c)), [x, w, b]),
        );
        const actual = await Promise.all([y, ...gradients].map((t) => t.data<'float32'>()));
        tf.dispose([x, w, b, c, y, value, gradients]);
        ['y', 'dx', 'dw', 'db'].forEach((what, i) =>
          expectClose(actual[i] as Float32Array, expected[i] as number[], TOLERANCE, `${mode} ${what}`),
        );
      }
    });
  });

  it('has the gradients that central differences show', async () => {
    const random = new Random(7);
    const [rows, dim] = [3, 11];
    const start = [normals(random, rows * dim), normals(random, dim), normals(random, dim)] as const;
    const c0 = normals(random, rows * dim);
    const loss = (x: tf.Tensor2D, w: tf.Tensor1D, b: tf.Tensor1D): tf.Scalar =>
      tf.sum(tf.mul(layerNorm(x, w, b, EPS), tf.tensor2d(c0, [rows, dim])));
    const tensors = (values: readonly Float32Array[]): [tf.Tensor2D, tf.Tensor1D, tf.Tensor1D] => [
      tf.tensor2d(values[0] as Float32Array, [rows, dim]),
      tf.tensor1d(values[1] as Float32Array),
      tf.tensor1d(values[2] as Float32Array),
    ];
    const inputs = tensors(start);
    const { value, gradients } = valueAndGradients(() => loss(...inputs), inputs);
    const found = await Promise.all(gradients.map((g) => g.data<'float32'>()));
    tf.dispose([...inputs, value, ...gradients]);
    for (const [which, coordinates] of [
      [0, 5, 13, 32],
      [0, 4, 10],
      [0, 4, 10],
    ].entries()) {
      const f = async (v: Float32Array): Promise<number> => {
        const y = tf.tidy(() => loss(...tensors(start.map((values, i) => (i === which ? v : values)))));
        const [out] = await y.data();
        y.dispose();
        return out as number;
      };
      const gradient = found[which] as Float32Array;
      expectClose(
        coordinates.map((i) => gradient[i] as number),
        await centralDifferences(f, start[which] as Float32Array, coordinates),
        2e-3,
        `input ${which}`,
      );
    }
  });

  it('gives the bias where a row is constant', async () => {
    const [x, w, b] = [tf.fill([1, 4], 7) as tf.Tensor2D, tf.tensor1d([1, 2, 3, 4]), tf.tensor1d([0.5, -1, 0, 2])];
    const y = layerNorm(x, w, b, EPS);
    expect([...(await y.data())]).toEqual([0.5, -1, 0, 2]);
    tf.dispose([x, w, b, y]);
  });

  it('refuses weights of another width', () => {
    const [x, w, b] = [tf.zeros([2, 3]) as tf.Tensor2D, tf.zeros([3]) as tf.Tensor1D, tf.zeros([4]) as tf.Tensor1D];
    expect(() => layerNorm(x, w, b, EPS)).toThrow('x is [2, 3], weight is [3], bias is [4]');
    tf.dispose([x, w, b]);
  });
});
