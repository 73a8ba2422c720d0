import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { gelu, swiglu, valueAndGradients, withKernelMode, type Activation } from '../../kernels/index.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { centralDifferences, expectClose, expectNoLeak, normals } from '../support/numeric.js';

const ACTIVATIONS: readonly Activation[] = ['silu', 'gelu', 'gelu_tanh', 'relu'];
const SHAPES = [
  [1, 1],
  [3, 7],
  [5, 65],
  [2, 129],
  [4, 577],
] as const;
const CASES = ACTIVATIONS.flatMap((activation) => SHAPES.map(([rows, dim]) => [activation, rows, dim] as const));

/** In float64, from the definitions; erf by its series and continued fraction. */
function exactActivation(x: number, activation: Activation): number {
  if (activation === 'silu') return x / (1 + Math.exp(-x));
  if (activation === 'relu') return Math.max(x, 0);
  if (activation === 'gelu_tanh') return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  return 0.5 * x * (1 + erf(x / Math.SQRT2));
}

function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

describeBackends('swiglu', ['cpu', 'wasm', 'webgpu'], () => {
  it.each(CASES)('%s equals the reference, forward and backward, at [%i, %i]', async (activation, rows, dim) => {
    const random = new Random(rows * 1000 + dim);
    // Gates of ±6 and beyond reach the saturated ends.
    const data = [normals(random, rows * dim, 4), normals(random, rows * dim), normals(random, rows * dim)] as const;
    await expectNoLeak(async () => {
      const run = async (mode: 'auto' | 'reference'): Promise<Float32Array[]> => {
        const [gate, up, c] = data.map((d) => tf.tensor2d(d, [rows, dim])) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
        const y = withKernelMode(mode, () => swiglu(gate, up, activation));
        const { value, gradients } = withKernelMode(mode, () =>
          valueAndGradients(() => tf.sum(tf.mul(swiglu(gate, up, activation), c)), [gate, up]),
        );
        const out = await Promise.all([y, ...gradients].map((t) => t.data<'float32'>()));
        tf.dispose([gate, up, c, y, value, gradients]);
        return out;
      };
      const [actual, expected] = [await run('auto'), await run('reference')];
      ['y', 'dgate', 'dup'].forEach((what, i) =>
        expectClose(actual[i] as Float32Array, expected[i] as Float32Array, 1e-5, what),
      );
    });
  });

  it.each(ACTIVATIONS)('%s follows its definition from -100 to 100', async (activation) => {
    const gates = [-100, -90, -87.4, -30, -9, -3, -1, -0.5, -1e-3, 0, 1e-3, 0.25, 1, 2, 5, 12, 40, 87.4, 90, 100];
    const gate = tf.tensor2d(gates, [1, gates.length]);
    const up = tf.onesLike(gate);
    const [y, ungated] = [swiglu(gate, up, activation), gelu(gate, activation)];
    for (const t of [y, ungated])
      expectClose(
        await t.data(),
        gates.map((g) => exactActivation(g, activation)),
        1e-6,
        activation,
      );
    tf.dispose([gate, up, y, ungated]);
  });

  it.each(ACTIVATIONS)('%s has the gradient that central differences show', async (activation) => {
    const random = new Random(11);
    const [rows, dim] = [3, 7];
    const [gate0, up0, c0] = [normals(random, rows * dim), normals(random, rows * dim), normals(random, rows * dim)];
    const loss = (gate: tf.Tensor2D, up: tf.Tensor2D): tf.Scalar =>
      tf.sum(tf.mul(swiglu(gate, up, activation), tf.tensor2d(c0, [rows, dim])));
    const [gate, up] = [tf.tensor2d(gate0, [rows, dim]), tf.tensor2d(up0, [rows, dim])];
    const { value, gradients } = valueAndGradients(() => loss(gate, up), [gate, up]);
    const [dgate, dup] = await Promise.all(gradients.map((g) => g.data<'float32'>()));
    tf.dispose([gate, up, value, gradients]);
    const scalar = async (y: tf.Scalar): Promise<number> => {
      const [out] = await y.data();
      y.dispose();
      return out as number;
    };
    const at = [0, 4, 11, 20];
    const ofGate = (v: Float32Array): Promise<number> =>
      scalar(tf.tidy(() => loss(tf.tensor2d(v, [rows, dim]), tf.tensor2d(up0, [rows, dim]))));
    const ofUp = (v: Float32Array): Promise<number> =>
      scalar(tf.tidy(() => loss(tf.tensor2d(gate0, [rows, dim]), tf.tensor2d(v, [rows, dim]))));
    expectClose(
      at.map((i) => dgate?.[i] as number),
      await centralDifferences(ofGate, gate0, at),
      2e-3,
      'dgate',
    );
    expectClose(
      at.map((i) => dup?.[i] as number),
      await centralDifferences(ofUp, up0, at),
      2e-3,
      'dup',
    );
  });

  it('refuses operands of different shapes', () => {
    const [gate, up] = [tf.zeros([2, 3]) as tf.Tensor2D, tf.zeros([2, 4]) as tf.Tensor2D];
    expect(() => swiglu(gate, up)).toThrow('gate is [2, 3], up is [2, 4]');
    tf.dispose([gate, up]);
  });
});

describeBackends('gelu and the other ungated activations', ['cpu', 'wasm', 'webgpu'], () => {
  it.each(CASES)('%s equals the reference, forward and backward, at [%i, %i]', async (activation, rows, dim) => {
    const random = new Random(rows * 1000 + dim);
    const data = [normals(random, rows * dim, 4), normals(random, rows * dim)] as const;
    await expectNoLeak(async () => {
      const run = async (mode: 'auto' | 'reference'): Promise<Float32Array[]> => {
        const [x, c] = data.map((d) => tf.tensor2d(d, [rows, dim])) as [tf.Tensor2D, tf.Tensor2D];
        const y = withKernelMode(mode, () => gelu(x, activation));
        const { value, gradients } = withKernelMode(mode, () =>
          valueAndGradients(() => tf.sum(tf.mul(gelu(x, activation), c)), [x]),
        );
        const out = await Promise.all([y, ...gradients].map((t) => t.data<'float32'>()));
        tf.dispose([x, c, y, value, gradients]);
        return out;
      };
      const [actual, expected] = [await run('auto'), await run('reference')];
      ['y', 'dx'].forEach((what, i) => expectClose(actual[i] as Float32Array, expected[i] as Float32Array, 1e-5, what));
    });
  });

  it.each(ACTIVATIONS)('%s has the gradient that central differences show', async (activation) => {
    const random = new Random(11);
    const [x0, c0] = [normals(random, 21), normals(random, 21)];
    const loss = (x: tf.Tensor1D): tf.Scalar => tf.sum(tf.mul(gelu(x, activation), tf.tensor1d(c0)));
    const x = tf.tensor1d(x0);
    const { value, gradients } = valueAndGradients(() => loss(x), [x]);
    const dx = await (gradients[0] as tf.Tensor).data();
    tf.dispose([x, value, gradients]);
    const at = [0, 4, 11, 20];
    const f = async (v: Float32Array): Promise<number> => {
      const y = tf.tidy(() => loss(tf.tensor1d(v)));
      const [out] = await y.data();
      y.dispose();
      return out as number;
    };
    expectClose(
      at.map((i) => dx[i] as number),
      await centralDifferences(f, x0, at),
      2e-3,
      'dx',
    );
  });
});
