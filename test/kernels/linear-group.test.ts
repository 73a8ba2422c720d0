import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { disposeWeight, linears, uploadDense, valueAndGradients, withKernelMode } from '../../kernels/index.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { expectClose, normals } from '../support/numeric.js';

const [TOKENS, INNER, OUT, RANK, MEMBERS] = [9, 16, 5, 2, 12];

describeBackends('linears', ['wasm', 'webgpu', 'cpu'], () => {
  it('takes twelve members, whose names have two digits', async () => {
    const random = new Random(5);
    const x = tf.tensor2d(normals(random, TOKENS * INNER), [TOKENS, INNER]);
    const members = Array.from({ length: MEMBERS }, () => ({
      weight: uploadDense(normals(random, OUT * INNER), [OUT, INNER]),
      lora: {
        a: tf.tensor2d(normals(random, RANK * INNER), [RANK, INNER]),
        b: tf.tensor2d(normals(random, OUT * RANK), [OUT, RANK]),
        scale: 0.5,
      },
    }));
    const parameters = [x, ...members.flatMap(({ lora }) => [lora.a, lora.b])];
    // Each output has a weight of its own: gradients of two members that are exchanged differ.
    const run = (): tf.Tensor[] => {
      const forward = (): tf.Scalar =>
        linears(x, members)
          .map((y, i): tf.Scalar => tf.mul(tf.sum(tf.square(y)), i + 1))
          .reduce((sum, one) => tf.add(sum, one));
      const { value, gradients } = valueAndGradients(forward, parameters);
      return [value, ...gradients];
    };
    const [own, reference] = [run(), withKernelMode('reference', run)];
    for (const [i, tensor] of own.entries())
      expectClose(await tensor.data(), await (reference[i] as tf.Tensor).data(), 1e-4);
    expect(own).toHaveLength(2 + 2 * MEMBERS);
    tf.dispose([own, reference, parameters]);
    for (const { weight } of members) disposeWeight(weight);
  });
});
