import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import {
  disposeWeight,
  quantizedMatmul,
  uploadQuantized,
  valueAndGradients,
  withKernelMode,
} from '../../kernels/index.js';
import { dequantize4bit, quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { centralDifferences, expectClose, expectNoLeak, normals } from '../support/numeric.js';

// The decoded weights are equal bit for bit; sums of up to 513 products differ in their order alone.
const TOLERANCE = 1e-5;
const SHAPES = [
  [1, 3, 7],
  [2, 65, 100],
  [7, 129, 65],
  [13, 40, 513],
  [50, 391, 33],
] as const;
const VARIANTS = [
  { quantType: 'nf4', doubleQuant: true, dtype: 'BF16' },
  { quantType: 'nf4', doubleQuant: false, dtype: 'F32' },
  { quantType: 'fp4', doubleQuant: true, dtype: 'F16' },
] as const;

describeBackends('quantizedMatmul', ['cpu', 'wasm', 'webgpu', 'tiles'], () => {
  const cases = SHAPES.flatMap(([n, out, inner]) =>
    VARIANTS.flatMap((v) => [false, true].map((transposed) => ({ n, out, inner, transposed, ...v }))),
  );
  it.each(cases)(
    '$n tokens, [$out, $inner], $quantType $dtype, nested $doubleQuant, transposed $transposed',
    async ({ n, out, inner, transposed, ...options }) => {
      const random = new Random(out * 1009 + inner);
      const host = quantize4bit(normals(random, out * inner, 0.05), [out, inner], options);
      const [k, m] = transposed ? [out, inner] : [inner, out];
      const [xs, cs] = [normals(random, n * k), normals(random, n * m)];
      await expectNoLeak(async () => {
        const [x, c, w] = [
          tf.tensor2d(xs, [n, k]),
          tf.tensor2d(cs, [n, m]),
          tf.tensor2d(dequantize4bit(host), [out, inner]),
        ];
        const weight = uploadQuantized(host);
        const y = quantizedMatmul(x, weight, transposed);
        const { value, gradients } = valueAndGradients(
          () => tf.sum(tf.mul(quantizedMatmul(x, weight, transposed), c)),
          [x],
        );
        const expected = tf.tidy(
          () => [tf.matMul(x, w, false, !transposed), tf.matMul(c, w, false, transposed)] as const,
        );
        const byReference = withKernelMode('reference', () => quantizedMatmul(x, weight, transposed));
        const [y1, dx1, y0, dx0, yr] = (await Promise.all(
          [y, gradients[0] as tf.Tensor, ...expected, byReference].map((t) => t.data()),
        )) as [Float32Array, Float32Array, Float32Array, Float32Array, Float32Array];
        tf.dispose([x, c, w, y, value, gradients, [...expected], byReference]);
        disposeWeight(weight);
        expectClose(y1, y0, TOLERANCE, 'y');
        expectClose(yr, y0, TOLERANCE, 'y of the reference');
        expectClose(dx1, dx0, TOLERANCE, 'dx');
      });
    },
  );

  it('has the gradient that central differences show, and none for the weight', async () => {
    const random = new Random(5);
    const [n, out, inner] = [3, 11, 21];
    const weight = uploadQuantized(
      quantize4bit(normals(random, out * inner), [out, inner], { quantType: 'nf4', doubleQuant: true }),
    );
    const [x0, c0] = [normals(random, n * inner), normals(random, n * out)];
    const loss = (x: tf.Tensor2D): tf.Scalar =>
      tf.sum(tf.mul(tf.square(quantizedMatmul(x, weight)), tf.tensor2d(c0, [n, out])));
    const f = async (v: Float32Array): Promise<number> => {
      const value = tf.tidy(() => tf.mul(loss(tf.tensor2d(v, [n, inner])), 0.01));
      const [at] = await value.data();
      value.dispose();
      return at as number;
    };
    const x = tf.tensor2d(x0, [n, inner]);
    const { value, gradients } = valueAndGradients(() => tf.mul(loss(x), 0.01), [x]);
    const dx = await (gradients[0] as tf.Tensor).data();
    const coordinates = [0, 17, 40, 62];
    expectClose(
      coordinates.map((i) => dx[i] as number),
      await centralDifferences(f, x0, coordinates),
      2e-3,
      'dx',
    );
    expect(() => valueAndGradients(() => loss(x), [weight.code])).toThrow(/no gradient for its input 'code'/);
    tf.dispose([x, value, gradients]);
    disposeWeight(weight);
  });
});
