import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import {
  dropout,
  FlatTensors,
  flatLayout,
  gpuDispatchCount,
  Replays,
  setReplay,
  withKernelMode,
} from '../../kernels/index.js';
import { gpuBackend, returnBuffer, takeBuffer, usedBufferCount } from '../../kernels/tfjs/webgpu.js';
import { describeBackends } from '../support/backends.js';

const SIZE = 5000;

async function read(tensor: tf.Tensor): Promise<number> {
  const [value] = await tensor.data();
  tensor.dispose();
  return value as number;
}

describeBackends('Replays', ['webgpu'], () => {
  /** Σ dropout(x · factor), with as many tensors in between as an input of the host and a seed need. */
  const step = (x: tf.Tensor, factor: Float32Array, seed: number): tf.Scalar =>
    tf.tidy(() => tf.sum(dropout(tf.mul(x, tf.tensor(factor, [])), 0.5, (seed ^ 77) >>> 0)));

  async function withReplays(
    watched: tf.Tensor[],
    body: (replays: Replays, refusals: string[]) => Promise<void>,
  ): Promise<void> {
    setReplay(true);
    const refusals: string[] = [];
    const replays = new Replays(tf.backend(), { results: [], watched, onRefused: (reason) => refusals.push(reason) });
    try {
      await body(replays, refusals);
    } finally {
      replays.dispose();
    }
  }

  const randomVariable = (): tf.Variable => tf.tidy(() => tf.variable(tf.randomUniform([SIZE], -1, 1, 'float32', 3)));

  it('gives a step what it is given, and counts its dispatches', async () => {
    const x = randomVariable();
    await withReplays([x], async (replays, refusals) => {
      for (let i = 0; i < 8; i++) {
        const factor = Float32Array.of(1 + i);
        const before = gpuDispatchCount(tf.backend());
        const value = await read(replays.run('step', { factor, seed: 1000 + i }, () => step(x, factor, 1000 + i)));
        expect(gpuDispatchCount(tf.backend()) - before).toBe(1);
        expect(value).toBe(await read(step(x, factor, 1000 + i)));
        if (i === 5) tf.tidy(() => x.assign(tf.mul(x, 2)));
      }
      expect(refusals).toEqual([]);
      // The third and fourth are recorded; after the sixth the values are elsewhere, and it begins anew.
      expect(replays.replayed).toBe(2);
    });
    x.dispose();
  });

  it('keeps an input that is uploaded late apart from what earlier commands of the step work in', async () => {
    const x = randomVariable();
    await withReplays([x], async (replays, refusals) => {
      for (let i = 0; i < 8; i++) {
        const late = new Float32Array(SIZE).fill(i);
        // Memory of the size of the input is used, and given back when what is put together is submitted.
        const work = (): tf.Scalar =>
          tf.tidy(() => {
            const sums = Array.from({ length: 20 }, () => tf.tidy(() => tf.sum(tf.square(tf.mul(x, 2)))));
            return tf.add(tf.sum(tf.stack(sums)), tf.sum(tf.mul(x, tf.tensor1d(late))));
          });
        const value = await read(replays.run('late', { late }, work));
        expect(value).toBe(await read(work()));
      }
      expect(refusals).toEqual([]);
      expect(replays.replayed).toBeGreaterThan(0);
    });
    x.dispose();
  });

  it('does not replay a step that depends on more than its inputs, or leaves tensors behind', async () => {
    const x = randomVariable();
    await withReplays([x], async (replays, refusals) => {
      for (let i = 0; i < 8; i++) {
        const hidden = Float32Array.of(i);
        const value = await read(replays.run('hidden', { seed: i }, () => step(x, hidden, i)));
        expect(value).toBe(await read(step(x, hidden, i)));
      }
      expect(replays.replayed).toBe(0);
      expect(refusals[0]).toMatch(/write \d+ of 4 bytes differs, and is no input/);
      refusals.length = 0;
      const kept: tf.Tensor[] = [];
      for (let i = 0; i < 5; i++)
        await read(
          replays.run('keeps', { seed: i }, () => (kept.push(tf.keep(tf.mul(x, 3))), step(x, Float32Array.of(1), i))),
        );
      expect(replays.replayed).toBe(0);
      expect(refusals[0]).toBe('it keeps 1 tensors');
      tf.dispose(kept);
    });
    x.dispose();
  });

  it('is as ever while somebody has a buffer that it works in, and goes on after', async () => {
    const x = randomVariable();
    const one = Float32Array.of(1);
    // Values go to the GPU when they are needed there.
    await read(tf.sum(x));
    const before = usedBufferCount(gpuBackend());
    await withReplays([x], async (replays) => {
      const run = (seed: number): Promise<number> => read(replays.run('step', { one, seed }, () => step(x, one, seed)));
      for (let i = 0; i < 5; i++) await run(i);
      expect(replays.replayed).toBe(1);
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
      const taken = Array.from({ length: 4 }, () => takeBuffer(gpuBackend(), 4 * SIZE, usage));
      expect(await run(5)).toBe(await read(step(x, one, 5)));
      expect(replays.replayed).toBe(1);
      for (const buffer of taken) returnBuffer(gpuBackend(), buffer);
      await run(6);
      expect(replays.replayed).toBe(2);
    });
    expect(usedBufferCount(gpuBackend())).toBe(before);
    x.dispose();
  });

  it('tells inputs of other sizes, and kernels in force, apart', async () => {
    const x = randomVariable();
    await withReplays([x], async (replays) => {
      const run = (factor: Float32Array): Promise<number> =>
        read(replays.run('step', { factor }, () => tf.tidy(() => tf.sum(tf.mul(tf.sum(x), tf.tensor(factor))))));
      for (let i = 0; i < 5; i++) {
        const [a, b] = [await run(Float32Array.of(1, i)), await run(Float32Array.of(1, i, 1))];
        const sum = await read(tf.sum(x));
        expect(a).toBeCloseTo(sum * (1 + i), 3);
        expect(b).toBeCloseTo(sum * (2 + i), 3);
      }
      expect(replays.replayed).toBe(2);
      await withKernelMode('reference', () => run(Float32Array.of(1, 2)));
      expect(replays.replayed).toBe(2);
    });
    x.dispose();
  });
});

describeBackends('FlatTensors', ['webgpu'], () => {
  it('are views that every op reads and writes, and that can be read', async () => {
    const before = tf.memory().numTensors;
    const flat = new FlatTensors(flatLayout([[2, 3], [70], []], [2, 0, 1]));
    expect(flat.layout).toMatchObject({ firsts: [64, 128, 0], size: 256 });
    flat.assign([Float32Array.of(1, 2, 3, 4, 5, 6), new Float32Array(70).fill(7), Float32Array.of(8)]);
    const [matrix, vector, scalar] = flat.views() as [tf.Tensor2D, tf.Tensor1D, tf.Scalar];
    expect(Array.from(await matrix.data())).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await read(tf.tidy(() => tf.add(tf.sum(vector), scalar)))).toBe(7 * 70 + 8);
    const doubled = tf.mul(matrix, 2);
    flat.take([doubled], [0]);
    expect(Array.from(await matrix.data())).toEqual([2, 4, 6, 8, 10, 12]);
    expect((await flat.read()).map((values) => values.length)).toEqual([6, 70, 1]);
    tf.dispose([matrix, vector, scalar, doubled]);
    flat.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});
