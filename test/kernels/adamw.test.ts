import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import {
  accumulate,
  adamwUpdate,
  clipScale,
  globalNorm,
  gpuDispatchCount,
  withKernelMode,
  type AdamwOptions,
} from '../../kernels/index.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { expectClose, expectNoLeak, normals } from '../support/numeric.js';

interface State {
  p: Float64Array;
  m: Float64Array;
  v: Float64Array;
}

/** torch.optim.AdamW in float64. */
function exactStep(
  state: State,
  gradient: Float32Array,
  scale: number,
  { learningRate, beta1, beta2, epsilon, weightDecay, step }: AdamwOptions,
): void {
  gradient.forEach((raw, i) => {
    const g = raw * scale;
    const m = beta1 * (state.m[i] as number) + (1 - beta1) * g;
    const v = beta2 * (state.v[i] as number) + (1 - beta2) * g * g;
    const denominator = Math.sqrt(v) / Math.sqrt(1 - beta2 ** step) + epsilon;
    state.m[i] = m;
    state.v[i] = v;
    state.p[i] =
      (state.p[i] as number) * (1 - learningRate * weightDecay) -
      (learningRate / (1 - beta1 ** step)) * (m / denominator);
  });
}

function variable(values: ArrayLike<number>): tf.Variable {
  return tf.tidy(() => tf.variable(tf.tensor1d(Float32Array.from(values))));
}

const BASE = { learningRate: 1e-2, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1 };

describeBackends('adamwUpdate', ['cpu', 'wasm', 'webgpu'], (backend) => {
  it.each([1, 3, 7, 65, 129, 1000, 70001])('follows float64 over 10 steps with %i values', async (size) => {
    const random = new Random(size);
    const p0 = normals(random, size);
    // Gradients over many magnitudes, some exactly 0.
    const gradients = Array.from({ length: 10 }, () =>
      normals(random, size).map((g, i) => (i % 5 === 4 ? 0 : g * 10 ** ((i % 9) - 8))),
    );
    await expectNoLeak(async () => {
      const runs = (['auto', 'reference'] as const).map((mode) => ({
        mode,
        parameter: variable(p0),
        m: variable(new Float32Array(size)),
        v: variable(new Float32Array(size)),
      }));
      const exact: State = { p: Float64Array.from(p0), m: new Float64Array(size), v: new Float64Array(size) };
      for (let t = 0; t < 10; t++) {
        const options = { ...BASE, learningRate: t === 0 ? 0 : BASE.learningRate / t, step: t + 1 };
        const values = gradients[t] as Float32Array;
        const scale = 1 - t / 20;
        for (const { mode, parameter, m, v } of runs) {
          const [gradient, scaleTensor] = [tf.tensor1d(values), tf.scalar(scale)];
          withKernelMode(mode, () =>
            adamwUpdate([{ parameter, gradient, m, v }], options, t % 2 === 0 ? scale : scaleTensor),
          );
          tf.dispose([gradient, scaleTensor]);
          // Reading between steps: a backend that keeps a copy on the host must not serve it after the next update.
          if (t === 4) await Promise.all([parameter.data(), m.data(), v.data()]);
        }
        exactStep(exact, values, scale, options);
      }
      for (const { mode, parameter, m, v } of runs) {
        expectClose(await parameter.data(), exact.p, 2e-6, `${mode} p`);
        expectClose(await m.data(), exact.m, 2e-6, `${mode} m`);
        expectClose(await v.data(), exact.v, 2e-6, `${mode} v`);
        tf.dispose([parameter, m, v]);
      }
    });
  });

  it('updates many tensors at once, each at its own rate and decay', async () => {
    const random = new Random(3);
    // More than any dispatch binds, of sizes that share no workgroup count.
    const sizes = [5, 1, 700, 257, 256, 9, 3, 1025, 2, 64, 33];
    const rates = sizes.map((_, i) => [undefined, 16, 0.5][i % 3]);
    const decays = sizes.map((_, i) => [undefined, 0][i % 2]);
    await expectNoLeak(async () => {
      const data = sizes.map((size) => [normals(random, size), normals(random, size)] as const);
      const items = data.map(([p, g], i) => ({
        ...{
          parameter: variable(p),
          gradient: tf.tensor1d(g),
          m: variable(new Float32Array(p.length)),
          v: variable(new Float32Array(p.length)),
        },
        ...(rates[i] === undefined ? {} : { learningRateScale: rates[i] }),
        ...(decays[i] === undefined ? {} : { weightDecay: decays[i] }),
      }));
      const scale = tf.scalar(0.5);
      const before = backend === 'webgpu' ? gpuDispatchCount(tf.backend()) : 0;
      adamwUpdate(items, { ...BASE, step: 1 }, scale);
      // At least two tensors a dispatch, on any device.
      if (backend === 'webgpu')
        expect(gpuDispatchCount(tf.backend()) - before).toBeLessThanOrEqual(Math.ceil(sizes.length / 2));
      for (const [i, [p, g]] of data.entries()) {
        const exact: State = { p: Float64Array.from(p), m: new Float64Array(p.length), v: new Float64Array(p.length) };
        exactStep(exact, g, 0.5, {
          ...BASE,
          learningRate: BASE.learningRate * (rates[i] ?? 1),
          weightDecay: decays[i] ?? BASE.weightDecay,
          step: 1,
        });
        expectClose(await (items[i]?.parameter as tf.Variable).data(), exact.p, 2e-6, `p ${i}`);
        expectClose(await (items[i]?.v as tf.Variable).data(), exact.v, 2e-6, `v ${i}`);
      }
      tf.dispose([scale, ...items.flatMap(({ parameter, gradient, m, v }) => [parameter, gradient, m, v])]);
    });
  });

  it('leaves weights alone at rate 0 but moves the moments', async () => {
    const [parameter, m, v] = [variable([1, -2]), variable([0, 0]), variable([0, 0])];
    const gradient = tf.tensor1d([4, -0.5]);
    adamwUpdate([{ parameter, gradient, m, v }], { ...BASE, learningRate: 0, step: 1 });
    expect([...(await parameter.data())]).toEqual([1, -2]);
    expectClose(await m.data(), [0.4, -0.05], 1e-7);
    expectClose(await v.data(), [0.016, 0.00025], 1e-7);
    tf.dispose([parameter, m, v, gradient]);
  });

  it('reaches no tensor that shares memory with a variable', async () => {
    const zeros = tf.zeros([3]);
    const start = tf.tensor1d([1, 2, 3]);
    const [parameter, m, v] = [tf.variable(start), tf.variable(zeros), tf.variable(zeros)];
    const copy = tf.clone(parameter);
    const gradient = tf.tensor1d([1, 1, 1]);
    adamwUpdate([{ parameter, gradient, m, v }], { ...BASE, step: 1 });
    for (const untouched of [start, copy]) expect([...(await untouched.data())]).toEqual([1, 2, 3]);
    expect([...(await zeros.data())]).toEqual([0, 0, 0]);
    expectClose(await m.data(), [0.1, 0.1, 0.1], 1e-7);
    expectClose(await v.data(), [0.001, 0.001, 0.001], 1e-7);
    tf.dispose([zeros, start, parameter, m, v, copy, gradient]);
  });

  it('refuses shapes that differ and a step of 0', () => {
    const [parameter, m, v] = tf.tidy(
      () => [tf.variable(tf.zeros([2, 3])), tf.variable(tf.zeros([2, 3])), tf.variable(tf.zeros([3, 2]))] as const,
    );
    const gradient = tf.zeros([2, 3]);
    expect(() => adamwUpdate([{ parameter, gradient, m, v }], { ...BASE, step: 1 })).toThrow(
      'is [2, 3] but its gradient and moments are [[2,3],[2,3],[3,2]]',
    );
    expect(() => adamwUpdate([], { ...BASE, step: 0 })).toThrow('step 0');
    tf.dispose([parameter, m, v, gradient]);
  });
});

describeBackends('globalNorm', ['cpu', 'wasm', 'webgpu', 'tiles'], () => {
  it.each([
    [[1]],
    [[3, 7, 65]],
    [[129, 1000, 70001, 5, 1, 2, 3, 4, 6, 8, 9, 10]],
    [Array.from({ length: 41 }, (_, i) => 11 * i + 1)],
  ])('of tensors of sizes %j', async (sizes) => {
    const random = new Random(sizes.length);
    const data = sizes.map((size, i) => normals(random, size, 10 ** ((i % 5) - 3)));
    const expected = Math.sqrt(data.reduce((sum, d) => sum + d.reduce((s, v) => s + v * v, 0), 0));
    await expectNoLeak(async () => {
      const tensors = data.map((d) => tf.tensor1d(d));
      for (const mode of ['auto', 'reference'] as const) {
        const norm = withKernelMode(mode, () => globalNorm(tensors));
        expect(norm.shape).toEqual([]);
        expectClose(await norm.data(), [expected], 2e-6, mode);
        norm.dispose();
      }
      tf.dispose(tensors);
    });
  });

  it('is 0 of nothing, infinite of an infinity, and clips as torch does', async () => {
    const run = async (make: () => tf.Scalar): Promise<number> => {
      const t = make();
      const [out] = await t.data();
      t.dispose();
      return out as number;
    };
    expect(await run(() => globalNorm([]))).toBe(0);
    expect(await run(() => tf.tidy(() => globalNorm([tf.tensor1d([1, Infinity, 3])])))).toBe(Infinity);
    expect(await run(() => tf.tidy(() => globalNorm([tf.tensor1d([1, 2]), tf.tensor1d([NaN])])))).toBeNaN();
    expect(await run(() => tf.tidy(() => clipScale(tf.scalar(0.5), 1)))).toBe(1);
    expectClose([await run(() => tf.tidy(() => clipScale(tf.scalar(4), 1)))], [1 / 4.000001], 1e-7);
  });
});

describeBackends('accumulate', ['cpu', 'wasm', 'webgpu'], (backend) => {
  it('adds lists of tensors up, and spares what shares memory with another', async () => {
    const random = new Random(9);
    const sizes = [5, 1, 700, 257, 256, 9, 3, 1025, 2, 64];
    const data = sizes.map((size) => [normals(random, size), normals(random, size)] as const);
    await expectNoLeak(async () => {
      for (const mode of ['auto', 'reference'] as const) {
        const [sums, addends] = [data.map(([s]) => tf.tensor1d(s)), data.map(([, t]) => tf.tensor1d(t))];
        const kept = tf.clone(sums[2] as tf.Tensor);
        const before = backend === 'webgpu' ? gpuDispatchCount(tf.backend()) : 0;
        const totals = withKernelMode(mode, () => accumulate(sums, addends));
        if (backend === 'webgpu' && mode === 'auto')
          expect(gpuDispatchCount(tf.backend()) - before).toBeLessThanOrEqual(3);
        for (const [i, [s, t]] of data.entries())
          expectClose(
            await (totals[i] as tf.Tensor).data(),
            s.map((v, k) => v + (t[k] as number)),
            1e-6,
            `${mode} ${i}`,
          );
        expectClose(await kept.data(), data[2]?.[0] as Float32Array, 0, 'the clone');
        tf.dispose([kept, totals]);
      }
    });
  });

  it('refuses shapes that differ', () => {
    const [a, b] = [tf.zeros([2, 3]), tf.zeros([3, 2])];
    expect(() => accumulate([a], [b])).toThrow('[[2,3]] and [[3,2]] differ');
    tf.dispose([a, b]);
  });
});
