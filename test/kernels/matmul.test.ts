import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { matmul, valueAndGradients, withKernelMode, type MatmulForm } from '../../kernels/index.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { centralDifferences, expectClose, expectNoLeak, normals } from '../support/numeric.js';

// Sums of up to 801 products of standard normals in float32, in another order than the reference's.
const TOLERANCE = 2e-5;
const FORMS: readonly MatmulForm[] = ['nt', 'nn', 'tn'];
const SIZES = [
  [1, 1, 1],
  [1, 130, 65],
  [3, 7, 5],
  [6, 8, 16],
  [13, 100, 17],
  [65, 385, 129],
  [100, 9, 391],
  [7, 801, 8],
  [130, 65, 6],
] as const;

function shapes(form: MatmulForm, n: number, k: number, m: number): { x: [number, number]; w: [number, number] } {
  return { x: form === 'tn' ? [k, n] : [n, k], w: form === 'nt' ? [m, k] : [k, m] };
}

/** The product in float64. */
function product(
  x: Float32Array,
  w: Float32Array,
  form: MatmulForm,
  n: number,
  k: number,
  m: number,
  scale: number,
): Float32Array {
  return Float32Array.from({ length: n * m }, (_, at) => {
    const [i, j] = [Math.floor(at / m), at % m];
    let sum = 0;
    for (let p = 0; p < k; p++)
      sum +=
        (x[form === 'tn' ? p * n + i : i * k + p] as number) * (w[form === 'nt' ? j * k + p : p * m + j] as number);
    return scale * sum;
  });
}

describeBackends('matmul', ['cpu', 'wasm', 'webgpu', 'tiles'], () => {
  const cases = FORMS.flatMap((form) => SIZES.map(([n, k, m]) => [form, n, k, m] as const));
  it.each(cases)(
    "equals float64 sums and the reference's gradients: '%s' at n %i, k %i, m %i",
    async (form, n, k, m) => {
      const random = new Random(n * 10007 + k * 101 + m);
      const shape = shapes(form, n, k, m);
      const data = [normals(random, n * k), normals(random, k * m), normals(random, n * m)] as const;
      await expectNoLeak(async () => {
        const run = async (mode: 'auto' | 'reference'): Promise<Float32Array[]> => {
          const [x, w, c] = [
            tf.tensor2d(data[0], shape.x),
            tf.tensor2d(data[1], shape.w),
            tf.tensor2d(data[2], [n, m]),
          ];
          const y = withKernelMode(mode, () => matmul(x, w, form, 0.5));
          const { value, gradients } = withKernelMode(mode, () =>
            valueAndGradients(() => tf.sum(tf.mul(matmul(x, w, form, 0.5), c)), [x, w]),
          );
          const out = await Promise.all([y, ...gradients].map((t) => t.data<'float32'>()));
          tf.dispose([x, w, c, y, value, gradients]);
          return out;
        };
        const [actual, expected] = [await run('auto'), await run('reference')];
        expectClose(actual[0] as Float32Array, product(data[0], data[1], form, n, k, m, 0.5), TOLERANCE, 'y');
        ['y', 'dx', 'dw'].forEach((what, i) =>
          expectClose(actual[i] as Float32Array, expected[i] as Float32Array, TOLERANCE, what),
        );
      });
    },
  );

  it.each(FORMS)("has the gradients that central differences show, '%s'", async (form) => {
    const [n, k, m] = [4, 9, 5];
    const random = new Random(11);
    const shape = shapes(form, n, k, m);
    const [x0, w0, c0] = [normals(random, n * k), normals(random, k * m), normals(random, n * m)];
    const loss = (x: tf.Tensor2D, w: tf.Tensor2D): tf.Scalar =>
      tf.sum(tf.mul(tf.square(matmul(x, w, form, 0.3)), tf.tensor2d(c0, [n, m])));
    const at = async (xv: Float32Array, wv: Float32Array): Promise<number> => {
      const value = tf.tidy(() => loss(tf.tensor2d(xv, shape.x), tf.tensor2d(wv, shape.w)));
      const [out] = await value.data();
      value.dispose();
      return out as number;
    };
    const [x, w] = [tf.tensor2d(x0, shape.x), tf.tensor2d(w0, shape.w)];
    const { value, gradients } = valueAndGradients(() => loss(x, w), [x, w]);
    const [dx, dw] = (await Promise.all(gradients.map((g) => g.data()))) as [Float32Array, Float32Array];
    tf.dispose([x, w, value, gradients]);
    const coordinates = [0, 7, 20, 33];
    expectClose(
      coordinates.map((i) => dx[i] as number),
      await centralDifferences((v) => at(v, w0), x0, coordinates),
      2e-3,
      'dx',
    );
    expectClose(
      coordinates.map((i) => dw[i] as number),
      await centralDifferences((v) => at(x0, v), w0, coordinates),
      2e-3,
      'dw',
    );
  });

  it('refuses operands that do not fit', () => {
    const [x, w] = [tf.ones<tf.Rank.R2>([2, 3]), tf.ones<tf.Rank.R2>([2, 4])];
    expect(() => matmul(x, w, 'nt')).toThrow(/matmul 'nt'/);
    tf.dispose([x, w]);
  });
});
