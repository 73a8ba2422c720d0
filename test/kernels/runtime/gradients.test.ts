import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { checkpointed, gpuDispatchCount, layerNorm, rmsNorm, valueAndGradients } from '../../../kernels/index.js';
import { Random } from '../../../src/random.js';
import { describeBackends } from '../../support/backends.js';
import { expectClose, expectNoLeak, normals } from '../../support/numeric.js';

type Inputs = [x: tf.Tensor2D, w: tf.Tensor1D, b: tf.Tensor1D];
type Norm = (...inputs: Inputs) => tf.Tensor2D;

const NORMS: Readonly<Record<string, Norm>> = {
  rmsNorm: (x, w) => rmsNorm(x, w, 1e-5),
  layerNorm: (x, w, b) => layerNorm(x, w, b, 1e-5),
};
const [ROWS, DIM] = [5, 13];

/** Σ over `uses` different functions of norm(x), and over one of x itself, as in a residual block. */
function block(norm: Norm, uses: number): (...inputs: Inputs) => tf.Scalar {
  return (...inputs) =>
    tf.tidy(() => {
      const y = norm(...inputs);
      const used = Array.from({ length: uses }, (_, i) => tf.sin(tf.mul(y, i + 1)));
      const sum = used.reduce((total, t) => tf.add(total, t), tf.square(inputs[0]));
      return tf.sum(tf.square(sum)) as tf.Scalar;
    });
}

describeBackends('valueAndGradients', ['cpu', 'wasm', 'webgpu'], (backend) => {
  const random = new Random(5);
  const start = [normals(random, ROWS * DIM), normals(random, DIM), normals(random, DIM)] as const;
  const inputs = (): Inputs => [tf.tensor2d(start[0], [ROWS, DIM]), tf.tensor1d(start[1]), tf.tensor1d(start[2])];

  it.each(Object.keys(NORMS).flatMap((name) => [1, 2, 3, 5].map((uses) => [name, uses] as const)))(
    'adds the gradients of %s up as the walk of tfjs does, at %i uses of its output',
    async (name, uses) => {
      const f = block(NORMS[name] as Norm, uses);
      await expectNoLeak(async () => {
        const [x, w, b] = inputs();
        const expected = tf.grads(f as unknown as (...t: tf.Tensor[]) => tf.Tensor)(
          name === 'rmsNorm' ? [x, w] : [x, w, b],
        );
        const { value, gradients } = valueAndGradients(() => f(x, w, b), [x, w, b]);
        const again = valueAndGradients(
          () => tf.sum(checkpointed((t) => f(t as tf.Tensor2D, w, b), x, [w, b])),
          [x, w, b],
        );
        for (const [i, gradient] of expected.entries()) {
          const values = await gradient.data();
          expectClose(await (gradients[i] as tf.Tensor).data(), values, 2e-5, `input ${i}`);
          expectClose(await (again.gradients[i] as tf.Tensor).data(), values, 2e-5, `input ${i}, checkpointed`);
        }
        tf.dispose([x, w, b, expected, value, gradients, again.value, again.gradients]);
      });
    },
  );

  it('gives zeros where nothing depends on a parameter', async () => {
    const [x, w, b] = inputs();
    const { value, gradients } = valueAndGradients(() => tf.sum(rmsNorm(x, w, 1e-5)), [b]);
    expect([...(await (gradients[0] as tf.Tensor).data())]).toEqual(new Array(DIM).fill(0));
    tf.dispose([x, w, b, value, gradients]);
  });

  it.runIf(backend === 'webgpu')(
    'needs one dispatch for what comes back through a norm from three sides, and around it',
    () => {
      const [x, w, b] = inputs();
      const before = gpuDispatchCount(tf.backend());
      const { value, gradients } = valueAndGradients(() => block(NORMS['rmsNorm'] as Norm, 3)(x, w, b), [x]);
      expect(gpuDispatchCount(tf.backend()) - before).toBe(2);
      tf.dispose([x, w, b, value, gradients]);
    },
  );
});
