import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import {
  disposeWeight,
  linear,
  linears,
  uploadDense,
  uploadQuantized,
  valueAndGradients,
  type FrozenWeight,
  type LinearMember,
} from '../../kernels/index.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { expectClose, expectNoLeak, normals } from '../support/numeric.js';

const TOLERANCE = 2e-5;
// As many rows as two threads take together, and columns past one block of theirs.
const [TOKENS, INNER] = [261, 64];
const OUTS = [396, 16, 16];
const RANKS = [4, 8, 3];

const random = new Random(11);
const matrix = (rows: number, cols: number): tf.Tensor2D =>
  tf.tensor2d(normals(random, rows * cols, 0.3), [rows, cols]);

function weightOf(out: number, kind: 'dense' | '4bit'): FrozenWeight {
  const values = normals(random, out * INNER, 0.1);
  return kind === 'dense'
    ? uploadDense(values, [out, INNER])
    : uploadQuantized(quantize4bit(values, [out, INNER], { quantType: 'nf4', doubleQuant: true, dtype: 'F32' }));
}

describeBackends('linears', ['cpu', 'wasm', 'webgpu', 'tiles'], () => {
  it.each([
    ['dense', 'updates'],
    ['4bit', 'updates'],
    ['dense', 'dropout'],
    ['dense', 'one update'],
    ['dense', 'none'],
  ] as const)(
    'gives values and gradients of %s layers one by one: %s',
    async (kind, updates) => {
      await expectNoLeak(async () => {
        const x = matrix(TOKENS, INNER);
        const members = OUTS.map((out, i): LinearMember => {
          const rank = RANKS[i] as number;
          const has = updates === 'one update' ? i === 1 : updates !== 'none';
          return {
            weight: weightOf(out, kind),
            ...(i === 0 ? { bias: tf.tensor1d(normals(random, out)) } : {}),
            ...(has ? { lora: { a: matrix(rank, INNER), b: matrix(out, rank), scale: 0.5 + i } } : {}),
            ...(has && updates === 'dropout' && i > 0 ? { loraInput: matrix(TOKENS, INNER) } : {}),
          } as LinearMember;
        });
        const parameters: tf.Tensor[] = [
          x,
          ...members.flatMap(({ bias, lora, loraInput }) => [bias, lora?.a, lora?.b, loraInput]),
        ].filter((t) => t !== undefined);
        const run = (apply: () => tf.Tensor2D[]): { value: tf.Scalar; gradients: tf.Tensor[] } =>
          // Without the last: nothing may depend on an output.
          valueAndGradients(
            () =>
              tf.addN(
                apply()
                  .slice(0, updates === 'none' ? 2 : 3)
                  .map((y) => tf.mean(tf.square(y))),
              ) as tf.Scalar,
            parameters,
          );
        const together = run(() => linears(x, members));
        const single = run(() => members.map(({ weight, ...options }) => linear(x, weight, options)));
        expectClose(await together.value.data(), await single.value.data(), TOLERANCE, 'value');
        for (const [i, gradient] of together.gradients.entries())
          expectClose(
            await gradient.data(),
            await (single.gradients[i] as tf.Tensor).data(),
            TOLERANCE,
            `gradient ${i}`,
          );
        // Only A and B are asked for: there is no gradient of x to share the work with.
        const factors = members.flatMap(({ lora }) => (lora === undefined ? [] : [lora.a, lora.b]));
        const without = valueAndGradients(
          () => tf.addN(linears(x, members).map((y) => tf.mean(tf.square(y)))) as tf.Scalar,
          factors,
        );
        for (const [i, gradient] of without.gradients.entries()) {
          if (updates !== 'none')
            expectClose(
              await gradient.data(),
              await (together.gradients[parameters.indexOf(factors[i] as tf.Tensor)] as tf.Tensor).data(),
              TOLERANCE,
              `factor ${i}`,
            );
        }
        expect(without.gradients).toHaveLength(factors.length);
        tf.dispose([
          parameters,
          together.value,
          together.gradients,
          single.value,
          single.gradients,
          without.value,
          without.gradients,
        ]);
        for (const { weight } of members) disposeWeight(weight);
      });
    },
    120_000,
  );

  it.each(['dense', '4bit'] as const)(
    'takes twelve members of %s weights',
    async (kind) => {
      await expectNoLeak(async () => {
        const x = matrix(17, INNER);
        const members = Array.from({ length: 12 }, (_, i): LinearMember => {
          const out = 4 * (i + 1);
          return {
            weight: weightOf(out, kind),
            bias: i % 5 === 1 ? tf.tensor1d(normals(random, out)) : undefined,
            lora: i % 4 === 0 ? undefined : { a: matrix(2, INNER), b: matrix(out, 2), scale: 0.5 + i / 8 },
          };
        });
        const parameters: tf.Tensor[] = [x, ...members.flatMap(({ bias, lora }) => [bias, lora?.a, lora?.b])].filter(
          (t) => t !== undefined,
        );
        const run = (apply: () => tf.Tensor2D[]): { value: tf.Scalar; gradients: tf.Tensor[] } =>
          valueAndGradients(
            // One by one: addN of so many binds more buffers than WebGPU allows.
            () =>
              apply()
                .map((y, i) => tf.mul<tf.Scalar>(tf.mean(tf.square(y)), i + 1))
                .reduce((sum, term) => tf.add(sum, term)),
            parameters,
          );
        const together = run(() => linears(x, members));
        const single = run(() => members.map(({ weight, ...options }) => linear(x, weight, options)));
        expect(together.gradients).toHaveLength(parameters.length);
        expectClose(await together.value.data(), await single.value.data(), 10 * TOLERANCE, 'value');
        for (const [i, gradient] of together.gradients.entries()) {
          const expected = single.gradients[i] as tf.Tensor;
          expect(gradient.shape).toEqual(expected.shape);
          expectClose(await gradient.data(), await expected.data(), 10 * TOLERANCE, `gradient ${i}`);
        }
        tf.dispose([parameters, together.value, together.gradients, single.value, single.gradients]);
        for (const { weight } of members) disposeWeight(weight);
      });
    },
    120_000,
  );
});
