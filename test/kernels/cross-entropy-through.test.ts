import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { crossEntropySum, crossEntropyThrough, linear, valueAndGradients } from '../../kernels/index.js';
import { variableFrom } from '../../src/model/variable.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { expectClose, expectNoLeak, normals } from '../support/numeric.js';

const [TOKENS, DIM, VOCAB, RANK, ROWS] = [19, 12, 37, 3, 16];

describeBackends('crossEntropyThrough', ['cpu', 'wasm', 'webgpu'], () => {
  it('is the loss of a plain output layer, chunk by chunk, with its gradients', async () => {
    await expectNoLeak(async () => {
      const random = new Random(1, 'through');
      const variable = (shape: [number, number]): tf.Variable<tf.Rank.R2> =>
        variableFrom(tf.tidy(() => tf.tensor2d(normals(random, shape[0] * shape[1]), shape)));
      const [hidden, weight, a, b] = [
        variable([TOKENS, DIM]),
        variable([VOCAB, DIM]),
        variable([RANK, DIM]),
        variable([VOCAB, RANK]),
      ];
      const targets = {
        rows: Int32Array.from({ length: ROWS }, (_, i) => i + 2),
        labels: Int32Array.from({ length: ROWS }, (_, i) => (7 * i) % VOCAB),
      };
      const dense = (values: tf.Tensor2D) => ({ kind: 'dense', shape: [VOCAB, DIM], values }) as const;
      const chunks: number[] = [];
      const through = (training: boolean): tf.Scalar =>
        crossEntropyThrough(
          {
            vocab: VOCAB,
            parameters: [a, b],
            logits: (rows, chunk) => {
              chunks.push(chunk);
              return linear(rows, dense(weight), { lora: { a, b, scale: 0.5 } });
            },
          },
          hidden,
          targets,
          // Five rows at a time: the last chunk is smaller.
          { training, chunkBytes: 4 * VOCAB * 5 },
        );
      const made = valueAndGradients(() => through(true), [hidden, a, b]);
      expect(chunks).toEqual([0, 1, 2, 3]);
      // The same with W + s·B·A as one trained weight.
      const merged = variableFrom(tf.tidy(() => tf.add(weight, tf.mul(tf.matMul(b, a), 0.5)) as tf.Tensor2D));
      const whole = valueAndGradients(
        () => crossEntropySum(hidden, dense(merged), targets, { weightGradient: true }),
        [hidden, merged],
      );
      const [dHidden, dWeight] = whole.gradients as [tf.Tensor2D, tf.Tensor2D];
      const [dA, dB] = tf.tidy(() => [
        tf.mul(tf.matMul(b, dWeight, true), 0.5),
        tf.mul(tf.matMul(dWeight, a, false, true), 0.5),
      ]);
      const evaluated = through(false);
      expectClose(await made.value.data(), await whole.value.data(), 1e-5, 'loss');
      expectClose(await evaluated.data(), await whole.value.data(), 1e-5, 'loss alone');
      for (const [i, expected] of [dHidden, dA, dB].entries())
        expectClose(
          await (made.gradients[i] as tf.Tensor).data<'float32'>(),
          await (expected as tf.Tensor).data<'float32'>(),
          2e-5,
          `gradient ${i}`,
        );
      tf.dispose([
        made.value,
        made.gradients,
        whole.value,
        whole.gradients,
        dA as tf.Tensor,
        dB as tf.Tensor,
        evaluated,
        merged,
        hidden,
        weight,
        a,
        b,
      ]);
    });
  });

  it('is zero without targets', async () => {
    const head = { vocab: 3, parameters: [], logits: (): tf.Tensor2D => tf.zeros([1, 3]) };
    const loss = crossEntropyThrough(head, tf.zeros([2, 4]), { rows: new Int32Array(), labels: new Int32Array() });
    expect([...(await loss.data())]).toEqual([0]);
    loss.dispose();
  });
});
