import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { softmaxLoss } from '../../kernels/cross-entropy/softmax-loss.js';
import {
  crossEntropySum,
  dequantize,
  disposeWeight,
  tokenLosses,
  uploadQuantized,
  valueAndGradients,
  withKernelMode,
  type DenseWeight,
  type Targets,
} from '../../kernels/index.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { centralDifferences, expectClose, expectNoLeak, normals } from '../support/numeric.js';

interface Problem {
  readonly tokens: number;
  readonly dim: number;
  readonly vocab: number;
  readonly hidden: Float32Array;
  readonly weight: Float32Array;
  readonly bias: Float32Array;
  readonly targets: Targets;
}

function problem(tokens: number, dim: number, vocab: number, supervised: number): Problem {
  const random = new Random(tokens * 7919 + vocab + dim);
  const rows = random.permutation(tokens).slice(0, supervised).sort();
  const labels = Int32Array.from(rows, () => random.below(vocab));
  return {
    tokens,
    dim,
    vocab,
    hidden: normals(random, tokens * dim),
    weight: normals(random, vocab * dim, 0.5),
    bias: normals(random, vocab),
    targets: { rows, labels },
  };
}

/** Token losses and gradients in float64 from the definition. */
function exact(
  { tokens, dim, vocab, hidden, weight, bias, targets }: Problem,
  withBias: boolean,
): Record<'losses' | 'dHidden' | 'dWeight' | 'dBias', Float64Array> & { sum: number } {
  const losses = new Float64Array(targets.rows.length);
  const [dHidden, dWeight, dBias] = [
    new Float64Array(tokens * dim),
    new Float64Array(vocab * dim),
    new Float64Array(vocab),
  ];
  targets.rows.forEach((row, i) => {
    const label = targets.labels[i] as number;
    const logits = Float64Array.from({ length: vocab }, (_, v) => {
      let dot = withBias ? (bias[v] as number) : 0;
      for (let k = 0; k < dim; k++) dot += (hidden[row * dim + k] as number) * (weight[v * dim + k] as number);
      return dot;
    });
    const top = logits.reduce((a, b) => Math.max(a, b));
    const sum = logits.reduce((a, b) => a + Math.exp(b - top), 0);
    losses[i] = top + Math.log(sum) - (logits[label] as number);
    logits.forEach((logit, v) => {
      const g = Math.exp(logit - top) / sum - (v === label ? 1 : 0);
      dBias[v] = (dBias[v] as number) + g;
      for (let k = 0; k < dim; k++) {
        dHidden[row * dim + k] = (dHidden[row * dim + k] as number) + g * (weight[v * dim + k] as number);
        dWeight[v * dim + k] = (dWeight[v * dim + k] as number) + g * (hidden[row * dim + k] as number);
      }
    });
  });
  return { losses, dHidden, dWeight, dBias, sum: losses.reduce((a, b) => a + b, 0) };
}

const CASES = [
  [1, 1, 3, 1],
  [3, 7, 65, 2],
  [9, 65, 320, 9],
  [130, 16, 1000, 129],
  [7, 5, 1, 3],
  [4, 3, 7, 0],
] as const;
// float32 sums over up to 1000 classes and 129 rows.
const TOLERANCE = 2e-5;

describeBackends('crossEntropySum', ['cpu', 'wasm', 'webgpu'], () => {
  it.each(CASES)(
    'equals the definition for %i tokens of width %i, %i classes, %i supervised',
    async (tokens, dim, vocab, supervised) => {
      const p = problem(tokens, dim, vocab, supervised);
      for (const withBias of [false, true]) {
        const expected = exact(p, withBias);
        // All rows at once, and chunks that do not divide them.
        for (const rowsPerChunk of [1000, 2, 50]) {
          await expectNoLeak(async () => {
            const hidden = tf.tensor2d(p.hidden, [tokens, dim]);
            const weight: DenseWeight = {
              kind: 'dense',
              shape: [vocab, dim],
              values: tf.tensor2d(p.weight, [vocab, dim]),
            };
            const bias = tf.tensor1d(p.bias);
            const options = { chunkBytes: rowsPerChunk * vocab * 4, ...(withBias ? { bias } : {}) };
            const losses = tokenLosses(hidden, weight, p.targets, options);
            const evaluated = crossEntropySum(hidden, weight, p.targets, { ...options, training: false });
            const frozen = valueAndGradients(
              () => tf.mul(2, crossEntropySum(hidden, weight, p.targets, options)),
              [hidden],
            );
            const full = valueAndGradients(
              () => tf.mul(2, crossEntropySum(hidden, weight, p.targets, { ...options, weightGradient: true })),
              [hidden, weight.values, bias],
            );
            expectClose(await losses.data(), expected.losses, TOLERANCE, 'losses');
            for (const value of [
              evaluated,
              tf.tidy(() => tf.div(frozen.value, 2)),
              tf.tidy(() => tf.div(full.value, 2)),
            ]) {
              expectClose(await value.data(), [expected.sum], TOLERANCE, 'sum');
              value.dispose();
            }
            const double = (x: Float64Array): Float64Array => x.map((v) => 2 * v);
            for (const { gradients } of [frozen, full])
              expectClose(await (gradients[0] as tf.Tensor).data(), double(expected.dHidden), TOLERANCE, 'dhidden');
            expectClose(await (full.gradients[1] as tf.Tensor).data(), double(expected.dWeight), TOLERANCE, 'dweight');
            expectClose(
              await (full.gradients[2] as tf.Tensor).data(),
              withBias ? double(expected.dBias) : new Float64Array(vocab),
              TOLERANCE,
              'dbias',
            );
            tf.dispose([
              hidden,
              weight.values,
              bias,
              losses,
              frozen.value,
              frozen.gradients,
              full.value,
              full.gradients,
            ]);
          });
        }
      }
    },
  );

  it('has the gradient that central differences show', async () => {
    const p = problem(5, 7, 65, 3);
    const loss = (h: tf.Tensor2D): tf.Scalar =>
      crossEntropySum(h, { kind: 'dense', shape: [65, 7], values: tf.tensor2d(p.weight, [65, 7]) }, p.targets);
    const hidden = tf.tensor2d(p.hidden, [5, 7]);
    const { value, gradients } = valueAndGradients(() => loss(hidden), [hidden]);
    const dHidden = await (gradients[0] as tf.Tensor).data();
    tf.dispose([hidden, value, gradients]);
    const f = async (v: Float32Array): Promise<number> => {
      const y = tf.tidy(() => loss(tf.tensor2d(v, [5, 7])));
      const [out] = await y.data();
      y.dispose();
      return out as number;
    };
    const row = p.targets.rows[1] as number;
    const at = [row * 7, row * 7 + 3, row * 7 + 6];
    expectClose(
      at.map((i) => dHidden[i] as number),
      await centralDifferences(f, p.hidden, at),
      2e-3,
      'dhidden',
    );
  });

  it('takes a 4-bit weight for its float values, and gives it no gradient', async () => {
    const p = problem(9, 65, 320, 7);
    await expectNoLeak(async () => {
      const quantized = uploadQuantized(
        quantize4bit(p.weight, [320, 65], { quantType: 'nf4', blockSize: 64, doubleQuant: true, dtype: 'BF16' }),
      );
      const dense: DenseWeight = { kind: 'dense', shape: [320, 65], values: dequantize(quantized) };
      const hidden = tf.tensor2d(p.hidden, [9, 65]);
      const options = { chunkBytes: 3 * 320 * 4 };
      const [of4bit, ofFloat] = [quantized, dense].map((weight) =>
        valueAndGradients(() => crossEntropySum(hidden, weight, p.targets, options), [hidden]),
      ) as [ReturnType<typeof valueAndGradients>, ReturnType<typeof valueAndGradients>];
      expectClose(await of4bit.value.data(), await ofFloat.value.data(), TOLERANCE, 'sum');
      expectClose(
        await (of4bit.gradients[0] as tf.Tensor).data(),
        await (ofFloat.gradients[0] as tf.Tensor).data(),
        TOLERANCE,
        'dhidden',
      );
      expect(() => crossEntropySum(hidden, quantized, p.targets, { weightGradient: true })).toThrow(
        'a 4-bit weight takes no gradient',
      );
      tf.dispose([dense.values, hidden, of4bit.value, of4bit.gradients, ofFloat.value, ofFloat.gradients]);
      disposeWeight(quantized);
    });
  });

  it('refuses targets outside hidden states and vocabulary', () => {
    const hidden = tf.zeros([2, 3]) as tf.Tensor2D;
    const weight: DenseWeight = { kind: 'dense', shape: [5, 3], values: tf.zeros([5, 3]) };
    const call = (rows: number[], labels: number[]): tf.Scalar =>
      crossEntropySum(hidden, weight, { rows: Int32Array.from(rows), labels: Int32Array.from(labels) });
    expect(() => call([2], [0])).toThrow('a row is outside [0, 2)');
    expect(() => call([0], [-100])).toThrow('a label is outside [0, 5)');
    expect(() => call([0, 1], [1])).toThrow('2 rows but 1 labels');
    tf.dispose([hidden, weight.values]);
  });
});

describeBackends('softmaxLoss', ['cpu', 'wasm', 'webgpu', 'tiles'], () => {
  const SHAPES = [
    [1, 1],
    [3, 7],
    [2, 65],
    [5, 320],
    [3, 1000],
    [1, 49152],
  ] as const;
  it.each(SHAPES)(
    'equals the reference at [%i, %i], also far from zero and with labels to be left out',
    async (rows, vocab) => {
      const random = new Random(rows + vocab);
      const logits0 = normals(random, rows * vocab, 30).map((v) => v + 500);
      const labels0 = Int32Array.from({ length: rows }, (_, i) => (i === 1 ? -100 : random.below(vocab)));
      await expectNoLeak(async () => {
        const run = async (mode: 'auto' | 'reference', withGradient: boolean): Promise<Float32Array[]> => {
          const labels = tf.tensor1d(labels0, 'int32');
          const { losses, dlogits } = withKernelMode(mode, () =>
            softmaxLoss(tf.tensor2d(logits0, [rows, vocab]), labels, withGradient),
          );
          const out = await Promise.all(
            [losses, ...(dlogits === undefined ? [] : [dlogits])].map((t) => t.data<'float32'>()),
          );
          tf.dispose([labels, losses, ...(dlogits === undefined ? [] : [dlogits])]);
          return out;
        };
        const [actual, alone, expected] = [
          await run('auto', true),
          await run('auto', false),
          await run('reference', true),
        ];
        expectClose(actual[0] as Float32Array, expected[0] as Float32Array, TOLERANCE, 'losses');
        expectClose(alone[0] as Float32Array, expected[0] as Float32Array, TOLERANCE, 'losses without gradient');
        expectClose(actual[1] as Float32Array, expected[1] as Float32Array, TOLERANCE, 'dlogits');
        expect(alone.length).toBe(1);
      });
    },
  );
});

describe('a float64 softmax', () => {
  it('has gradients that sum to nothing over the classes', () => {
    const p = problem(9, 65, 320, 9);
    expect(exact(p, true).dBias.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 10);
  });
});
