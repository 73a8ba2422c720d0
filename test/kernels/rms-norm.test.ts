import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { rmsNorm, valueAndGradients, withKernelMode } from '../../kernels/index.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { centralDifferences, expectClose, expectNoLeak, normals } from '../support/numeric.js';

// float32 sums of at most 577 products: 1e-5 relative leaves room for the order of summation.
const TOLERANCE = 1e-5;
const SHAPES = [[1, 1], [3, 7], [5, 64], [2, 577]] as const;

describeBackends('rmsNorm', ['cpu', 'wasm', 'webgpu'], () => {
  it.each(SHAPES)('equals the reference, forward and backward, at [%i, %i]', async (rows, dim) => {
    const random = new Random(rows * 1000 + dim);
    const data = [normals(random, rows * dim), normals(random, dim), normals(random, rows * dim)] as const;
    await expectNoLeak(async () => {
      const run = async (mode: 'auto' | 'reference'): Promise<Float32Array[]> => {
        const [x, w, c] = [tf.tensor2d(data[0], [rows, dim]), tf.tensor1d(data[1]), tf.tensor2d(data[2], [rows, dim])];
        const y = withKernelMode(mode, () => rmsNorm(x, w, 1e-5));
        const { value, gradients } = withKernelMode(mode, () => valueAndGradients(() => tf.sum(tf.mul(rmsNorm(x, w, 1e-5), c)), [x, w]));
        const out = await Promise.all([y, ...gradients].map((t) => t.data<'float32'>()));
        tf.dispose([x, w, c, y, value, gradients]);
        return out;
      };
      const [actual, expected] = [await run('auto'), await run('reference')];
      ['y', 'dx', 'dw'].forEach((what, i) => expectClose(actual[i] as Float32Array, expected[i] as Float32Array, TOLERANCE, what));
    });
  });

  it('has the gradient that central differences show', async () => {
    const random = new Random(7);
    const [rows, dim] = [3, 11];
    const [x0, w0, c0] = [normals(random, rows * dim), normals(random, dim), normals(random, rows * dim)];
    const loss = (x: tf.Tensor2D): tf.Scalar => tf.sum(tf.mul(rmsNorm(x, tf.tensor1d(w0), 1e-5), tf.tensor2d(c0, [rows, dim])));
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
    expectClose(coordinates.map((i) => dx[i] as number), await centralDifferences(f, x0, coordinates), 2e-3, 'dx');
    expect(dx.length).toBe(rows * dim);
  });
});
