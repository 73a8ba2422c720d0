import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { embedding, valueAndGradients } from '../../kernels/index.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { expectClose, expectNoLeak, normals } from '../support/numeric.js';

const SHAPES = [
  [1, 1, 1],
  [3, 7, 5],
  [320, 65, 129],
  [1000, 3, 7],
  [17, 64, 200],
  [5, 300, 65],
] as const;

describeBackends('embedding', ['cpu', 'wasm', 'webgpu', 'tiles'], () => {
  it.each(SHAPES)('looks up and scatters back, vocabulary %i, width %i, %i ids', async (vocab, dim, count) => {
    const random = new Random(vocab + dim);
    const [table0, c0] = [normals(random, vocab * dim), normals(random, count * dim)];
    const ids0 = Int32Array.from({ length: count }, () => random.below(vocab));
    const expected = [...ids0].flatMap((id) => [...table0.subarray(id * dim, (id + 1) * dim)]);
    const gradient = new Float64Array(vocab * dim);
    ids0.forEach((id, i) => {
      for (let k = 0; k < dim; k++)
        gradient[id * dim + k] = (gradient[id * dim + k] as number) + (c0[i * dim + k] as number);
    });
    await expectNoLeak(async () => {
      const [table, ids, c] = [
        tf.tensor2d(table0, [vocab, dim]),
        tf.tensor1d(ids0, 'int32'),
        tf.tensor2d(c0, [count, dim]),
      ];
      const y = embedding(table, ids);
      const { value, gradients } = valueAndGradients(() => tf.sum(tf.mul(embedding(table, ids), c)), [table]);
      expectClose(await y.data(), expected, 0, 'y');
      expectClose(await (gradients[0] as tf.Tensor).data(), gradient, 1e-5, 'dtable');
      tf.dispose([table, ids, c, y, value, gradients]);
    });
  });

  it('gives zeros and no gradient for ids outside the table', async () => {
    const [table, ids] = [tf.ones([4, 3]) as tf.Tensor2D, tf.tensor1d([-1, 2, 4, 2, 1 << 30, -2147483648], 'int32')];
    const y = embedding(table, ids);
    const { value, gradients } = valueAndGradients(() => tf.sum(embedding(table, ids)), [table]);
    expect([...(await y.data())]).toEqual([0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]);
    expect([...(await (gradients[0] as tf.Tensor).data())]).toEqual([0, 0, 0, 0, 0, 0, 2, 2, 2, 0, 0, 0]);
    tf.dispose([table, ids, y, value, gradients]);
  });

  it('refuses ids that are not int32', () => {
    const [table, ids] = [tf.zeros([2, 3]) as tf.Tensor2D, tf.zeros([2]) as tf.Tensor1D];
    expect(() => embedding(table, ids)).toThrow('ids is float32 [2]');
    tf.dispose([table, ids]);
  });
});
