import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { dropoutMask } from '../../kernels/dropout/hash.js';
import { dropout, valueAndGradients, withKernelMode } from '../../kernels/index.js';
import { describeBackends } from '../support/backends.js';
import { expectNoLeak } from '../support/numeric.js';

describe('dropout masks', () => {
  it.each([0.05, 0.1, 0.5, 0.9])('drop the rate %d of elements, evenly over positions and pairs', (rate) => {
    const size = 1 << 18;
    const mask = dropoutMask(size, rate, 42, 0);
    const dropped = Array.from(mask, (v) => (v === 0 ? 1 : 0));
    // Five standard deviations of a fair coin of that bias.
    const within = (count: number, of: number, p: number): void =>
      expect(Math.abs(count - of * p)).toBeLessThan(5 * Math.sqrt(of * p * (1 - p)));
    within(
      dropped.reduce<number>((a, b) => a + b, 0),
      size,
      rate,
    );
    for (const lag of [1, 2, 64, 576, 4096]) {
      let both = 0;
      for (let i = lag; i < size; i++) both += (dropped[i] as number) * (dropped[i - lag] as number);
      within(both, size - lag, rate * rate);
    }
    for (let phase = 0; phase < 4; phase++)
      within(
        dropped.filter((_, i) => i % 4 === phase).reduce<number>((a, b) => a + b, 0),
        size / 4,
        rate,
      );
  });

  it('of neighbouring seeds agree no more often than chance', () => {
    const size = 1 << 16;
    const [a, b] = [dropoutMask(size, 0.5, 7, 0), dropoutMask(size, 0.5, 8, 0)];
    const equal = a.reduce((n, v, i) => n + (v === b[i] ? 1 : 0), 0);
    expect(Math.abs(equal - size / 2)).toBeLessThan(5 * Math.sqrt(size / 4));
  });

  it('continue where an offset points, below and above 2^32', () => {
    for (const start of [0, 2 ** 31, 3 * 2 ** 32]) {
      expect(dropoutMask(100, 0.3, 9, start + 28)).toEqual(dropoutMask(128, 0.3, 9, start).slice(28));
    }
    expect(dropoutMask(100, 0.3, 9, 2 ** 32)).not.toEqual(dropoutMask(100, 0.3, 9, 0));
  });

  it('stay what they are: resumed runs depend on them', () => {
    const kept = (seed: number, offset: number): string =>
      Array.from(dropoutMask(32, 0.5, seed, offset), (v) => (v === 0 ? '.' : 'x')).join('');
    expect([kept(0, 0), kept(1, 0), kept(4294967295, 5)]).toMatchInlineSnapshot(`
      [
        "xxx.x...x..xx.x..xx.x.x..xx.x...",
        "xx.xx.x..xx.x..xxxx.x.xx..x.xxxx",
        "..x..x.x.x..xxxxxxxx..x.x.x.xx..",
      ]
    `);
  });
});

describeBackends('dropout', ['cpu', 'wasm', 'webgpu'], () => {
  it.each([
    [1, 1],
    [3, 7],
    [5, 65],
    [17, 129],
    [64, 577],
  ])('applies the mask of the host, forward and backward, at [%i, %i]', async (rows, dim) => {
    await expectNoLeak(async () => {
      for (const [rate, seed, offset] of [
        [0.05, 1, 0],
        [0.5, 4294967295, 12345],
        [0.9, 77, 2 ** 33 + 5],
        [0.3, 5, 2 ** 32 - 3],
      ] as const) {
        const x = tf.ones([rows, dim]);
        const mask = dropoutMask(rows * dim, rate, seed, offset);
        const y = dropout(x, rate, seed, offset);
        const { value, gradients } = valueAndGradients(() => tf.sum(dropout(x, rate, seed, offset)), [x]);
        const reference = withKernelMode('reference', () => dropout(x, rate, seed, offset));
        expect(await y.data()).toEqual(mask);
        expect(await reference.data()).toEqual(mask);
        expect(await (gradients[0] as tf.Tensor).data()).toEqual(mask);
        tf.dispose([x, y, reference, value, gradients]);
      }
    });
  });

  it('keeps everything at rate 0 and refuses rates and seeds out of range', async () => {
    const x = tf.tensor1d([1, -2, 3]);
    const y = dropout(x, 0, 1);
    expect([...(await y.data())]).toEqual([1, -2, 3]);
    expect(() => dropout(x, 1, 1)).toThrow('rate 1');
    expect(() => dropout(x, 0.5, -1)).toThrow('seed -1');
    expect(() => dropout(x, 0.5, 1, 0.5)).toThrow('offset 0.5');
    tf.dispose([x, y]);
  });
});
