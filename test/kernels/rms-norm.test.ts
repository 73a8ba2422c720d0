import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { addRmsNorm, rmsNorm, valueAndGradients, withKernelMode } from '../../kernels/index.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { centralDifferences, expectClose, expectNoLeak, normals } from '../support/numeric.js';

// float32 sums of at most 577 products: 1e-5 relative leaves room for the order of summation.
const TOLERANCE = 1e-5;
const SHAPES = [
  [1, 1],
  [3, 7],
  [5, 64],
  [2, 577],
] as const;

describeBackends('rmsNorm', ['cpu', 'wasm', 'webgpu', 'tiles'], () => {
  it.each(SHAPES)('equals the reference, forward and backward, at [%i, %i]', async (rows, dim) => {
    const random = new Random(rows * 1000 + dim);
    const data = [normals(random, rows * dim), normals(random, dim), normals(random, rows * dim)] as const;
    await expectNoLeak(async () => {
      const run = async (mode: 'auto' | 'reference'): Promise<Float32Array[]> => {
        const [x, w, c] = [tf.tensor2d(data[0], [rows, dim]), tf.tensor1d(data[1]), tf.tensor2d(data[2], [rows, dim])];
        const y = withKernelMode(mode, () => rmsNorm(x, w, 1e-5));
        const { value, gradients } = withKernelMode(mode, () =>
          valueAndGradients(() => tf.sum(tf.mul(rmsNorm(x, w, 1e-5), c)), [x, w]),
        );
        const out = await Promise.all([y, ...gradients].map((t) => t.data<'float32'>()));
        tf.dispose([x, w, c, y, value, gradients]);
        return out;
      };
      const [actual, expected] = [await run('auto'), await run('reference')];
      ['y', 'dx', 'dw'].forEach((what, i) =>
        expectClose(actual[i] as Float32Array, expected[i] as Float32Array, TOLERANCE, what),
      );
    });
  });

  it('has the gradient that central differences show', async () => {
    const random = new Random(7);
    const [rows, dim] = [3, 11];
    const [x0, w0, c0] = [normals(random, rows * dim), normals(random, dim), normals(random, rows * dim)];
    const loss = (x: tf.Tensor2D): tf.Scalar =>
      tf.sum(tf.mul(rmsNorm(x, tf.tensor1d(w0), 1e-5), tf.tensor2d(c0, [rows, dim])));
    const x = tf.tensor2d(x0, [rows, dim]);
    const { value, gradients } = valueAndGradients(() => loss(x), [x]);
    const dx = await (gradients[0] as tf.Tensor).data();
    tf.dispose([x, value, gradients]);
    const coordinates = [0, 5, 13, 32];
    const f = async (v: Float32Array): Promise<number> => {
      const y = tf.tidy(() => loss(tf.tensor2d(v, [rows, dim])));
      const [out] = await y.data();
      y.dispose();
      return out as number;
    };
    expectClose(
      coordinates.map((i) => dx[i] as number),
      await centralDifferences(f, x0, coordinates),
      2e-3,
      'dx',
    );
    expect(dx.length).toBe(rows * dim);
  });
});

describeBackends('addRmsNorm', ['cpu', 'wasm', 'webgpu', 'tiles'], () => {
  // The sum is used twice: as the next residual, and where only the norm is, not at all.
  it.each(SHAPES.flatMap(([rows, dim]) => [true, false].map((sumUsed) => [rows, dim, sumUsed] as const)))(
    'equals an addition and rmsNorm, forward and backward, at [%i, %i], the sum used: %s',
    async (rows, dim, sumUsed) => {
      const random = new Random(rows * 1000 + dim);
      const data = [
        normals(random, rows * dim),
        normals(random, rows * dim),
        normals(random, dim),
        normals(random, rows * dim),
      ] as const;
      await expectNoLeak(async () => {
        const [x, r, c] = [data[0], data[1], data[3]].map((d) => tf.tensor2d(d, [rows, dim])) as [
          tf.Tensor2D,
          tf.Tensor2D,
          tf.Tensor2D,
        ];
        const w = tf.tensor1d(data[2]);
        const apart = (): [tf.Tensor2D, tf.Tensor2D] => {
          const sum = tf.add<tf.Tensor2D>(x, r);
          return [sum, rmsNorm(sum, w, 1e-5)];
        };
        const runs = [() => addRmsNorm(x, r, w, 1e-5), () => withKernelMode('reference', apart)].map((both) => {
          const loss = (): tf.Scalar => {
            const [sum, y] = both();
            return tf.sum(tf.mul(sumUsed ? tf.add(y, tf.square(sum)) : y, c));
          };
          const { value, gradients } = valueAndGradients(loss, [x, r, w]);
          return [...tf.tidy(both), value, ...gradients];
        }) as [tf.Tensor[], tf.Tensor[]];
        const [actual, expected] = await Promise.all(
          runs.map((run) => Promise.all(run.map((t) => t.data<'float32'>()))),
        );
        ['sum', 'y', 'loss', 'dx', 'dr', 'dw'].forEach((what, i) =>
          expectClose(actual?.[i] as Float32Array, expected?.[i] as Float32Array, 2e-5, what),
        );
        tf.dispose([x, r, c, w, ...runs.flat()]);
      });
    },
  );

  it('refuses operands of different shapes', () => {
    const [x, r, w] = [tf.zeros([2, 3]) as tf.Tensor2D, tf.zeros([2, 4]) as tf.Tensor2D, tf.zeros([3]) as tf.Tensor1D];
    expect(() => addRmsNorm(x, r, w, 1e-5)).toThrow('x is [2, 3], added is [2, 4], w is [3]');
    tf.dispose([x, r, w]);
  });
});
