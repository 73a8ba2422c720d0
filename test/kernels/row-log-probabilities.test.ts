import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import {
  crossEntropySum,
  dequantize,
  disposeWeight,
  linear,
  rowLogProbabilities,
  rowLogProbabilitiesThrough,
  uploadQuantized,
  valueAndGradients,
  withKernelMode,
  type DenseWeight,
  type FrozenWeight,
  type RowLogProbabilities,
  type Targets,
} from '../../kernels/index.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { centralDifferences, expectClose, expectNoLeak, normals } from '../support/numeric.js';

interface Problem {
  readonly batch: number;
  readonly length: number;
  readonly dim: number;
  readonly vocab: number;
  readonly hidden: Float32Array;
  readonly weight: Float32Array;
  readonly bias: Float32Array;
  readonly targets: Targets;
  /** What comes in for each row in the backward pass. */
  readonly dy: Float32Array;
}

/** Every third row of a batch has no supervised token; two targets at the end count for nothing. */
function problem(batch: number, length: number, dim: number, vocab: number): Problem {
  const random = new Random(batch * 7919 + vocab + dim, 'rows');
  const rows: number[] = [];
  for (let b = 0; b < batch; b++)
    for (let t = 0; t < length; t++) if (b % 3 !== 2 && random.below(3) > 0) rows.push(b * length + t);
  if (rows.length === 0) rows.push(0);
  const labels = rows.map(() => random.below(vocab));
  return {
    batch,
    length,
    dim,
    vocab,
    hidden: normals(random, batch * length * dim),
    weight: normals(random, vocab * dim, 0.5),
    bias: normals(random, vocab),
    targets: { rows: Int32Array.of(...rows, -1, -1), labels: Int32Array.of(...labels, -1, -1) },
    dy: normals(random, batch),
  };
}

interface Exact {
  readonly sums: Float64Array;
  readonly counts: Float64Array;
  readonly dHidden: Float64Array;
  readonly dWeight: Float64Array;
  readonly dBias: Float64Array;
}

/** In float64 from the definition. */
function exact({ batch, length, dim, vocab, hidden, weight, bias, targets, dy }: Problem, withBias: boolean): Exact {
  const [sums, counts] = [new Float64Array(batch), new Float64Array(batch)];
  const [dHidden, dWeight, dBias] = [
    new Float64Array(hidden.length),
    new Float64Array(weight.length),
    new Float64Array(vocab),
  ];
  targets.rows.forEach((token, i) => {
    if (token < 0) return;
    const label = targets.labels[i] as number;
    const row = Math.floor(token / length);
    const logits = Float64Array.from({ length: vocab }, (_, v) => {
      let dot = withBias ? (bias[v] as number) : 0;
      for (let k = 0; k < dim; k++) dot += (hidden[token * dim + k] as number) * (weight[v * dim + k] as number);
      return dot;
    });
    const top = logits.reduce((a, b) => Math.max(a, b));
    const sum = logits.reduce((a, b) => a + Math.exp(b - top), 0);
    sums[row] = (sums[row] as number) + (logits[label] as number) - top - Math.log(sum);
    counts[row] = (counts[row] as number) + 1;
    logits.forEach((logit, v) => {
      const g = (dy[row] as number) * ((v === label ? 1 : 0) - Math.exp(logit - top) / sum);
      dBias[v] = (dBias[v] as number) + g;
      for (let k = 0; k < dim; k++) {
        dHidden[token * dim + k] = (dHidden[token * dim + k] as number) + g * (weight[v * dim + k] as number);
        dWeight[v * dim + k] = (dWeight[v * dim + k] as number) + g * (hidden[token * dim + k] as number);
      }
    });
  });
  return { sums, counts, dHidden, dWeight, dBias };
}

const CASES = [
  [1, 1, 1, 3],
  [3, 2, 7, 65],
  [5, 9, 33, 130],
  [4, 13, 64, 257],
] as const;

const dense = (values: tf.Tensor2D): DenseWeight => ({
  kind: 'dense',
  shape: values.shape as [number, number],
  values,
});

/** Values, counts and the gradients of Σ dy · sums. */
async function results(
  run: () => RowLogProbabilities,
  dy: Float32Array,
  parameters: readonly tf.Tensor[],
): Promise<{ sums: Float32Array; counts: Float32Array; gradients: Float32Array[] }> {
  const { sums, counts } = run();
  const made = valueAndGradients(() => tf.sum<tf.Scalar>(tf.mul(run().sums, tf.tensor1d(dy))), parameters);
  const read = {
    sums: await sums.data<'float32'>(),
    counts: await counts.data<'float32'>(),
    gradients: await Promise.all(made.gradients.map((g) => g.data<'float32'>())),
  };
  tf.dispose([sums, counts, made.value, made.gradients]);
  return read;
}

describeBackends('the log-probability of each row', ['cpu', 'wasm', 'webgpu', 'tiles'], () => {
  it.each(CASES)('%i × %i rows of %i over %i tokens, against float64', async (batch, length, dim, vocab) => {
    const given = problem(batch, length, dim, vocab);
    for (const withBias of [false, true])
      for (const chunkBytes of [4 * vocab * 3, 2 ** 20]) {
        await expectNoLeak(async () => {
          const expected = exact(given, withBias);
          const hidden = tf.tensor2d(given.hidden, [batch * length, dim]);
          const weight = tf.tensor2d(given.weight, [vocab, dim]);
          const bias = tf.tensor1d(given.bias);
          const options = { chunkBytes, ...(withBias ? { bias } : {}) };
          const frozen = await results(
            () => rowLogProbabilities(hidden, dense(weight), given.targets, batch, options),
            given.dy,
            [hidden],
          );
          expectClose(frozen.sums, expected.sums, 2e-5, 'sums');
          expect([...frozen.counts]).toEqual([...expected.counts]);
          expectClose(frozen.gradients[0] as Float32Array, expected.dHidden, 2e-5, 'dHidden');
          // A trained table, as with tied weights in full fine-tuning.
          const trained = await results(
            () =>
              rowLogProbabilities(hidden, dense(weight), given.targets, batch, { ...options, weightGradient: true }),
            given.dy,
            [hidden, weight, ...(withBias ? [bias] : [])],
          );
          expectClose(trained.sums, expected.sums, 2e-5, 'sums');
          [expected.dHidden, expected.dWeight, ...(withBias ? [expected.dBias] : [])].forEach((of, i) => {
            expectClose(trained.gradients[i] as Float32Array, of, 3e-5, `gradient ${i}`);
          });
          const untrained = rowLogProbabilities(hidden, dense(weight), given.targets, batch, {
            ...options,
            training: false,
          });
          expect([...(await untrained.sums.data())]).toEqual([...frozen.sums]);
          tf.dispose([untrained.sums, untrained.counts, hidden, weight, bias]);
        });
      }
  });

  it('runs over a 4-bit output layer, and over one that carries an adapter, as over the dense one', async () => {
    const [batch, length, dim, vocab, rank] = [4, 7, 64, 129, 3];
    const given = problem(batch, length, dim, vocab);
    await expectNoLeak(async () => {
      const random = new Random(3, 'head');
      const hidden = tf.tensor2d(given.hidden, [batch * length, dim]);
      const packed = uploadQuantized(
        quantize4bit(given.weight, [vocab, dim], { quantType: 'nf4', blockSize: 64, doubleQuant: true, dtype: 'BF16' }),
      );
      const weight = dequantize(packed);
      const same = (of: FrozenWeight): Promise<{ sums: Float32Array; gradients: Float32Array[] }> =>
        results(() => rowLogProbabilities(hidden, of, given.targets, batch, { chunkBytes: 4 * vocab * 4 }), given.dy, [
          hidden,
        ]);
      const [quantized, plain] = [await same(packed), await same(dense(weight))];
      expectClose(quantized.sums, plain.sums, 2e-5);
      expectClose(quantized.gradients[0] as Float32Array, plain.gradients[0] as Float32Array, 2e-5);

      const a = tf.tensor2d(normals(random, rank * dim), [rank, dim]);
      const b = tf.tensor2d(normals(random, vocab * rank), [vocab, rank]);
      const adapted = await results(
        () =>
          rowLogProbabilitiesThrough(
            {
              vocab,
              parameters: [a, b],
              logits: (rows) => linear(rows, dense(weight), { lora: { a, b, scale: 0.5 } }),
            },
            hidden,
            given.targets,
            batch,
            { chunkBytes: 4 * vocab * 4 },
          ),
        given.dy,
        [hidden, a, b],
      );
      const merged = tf.tidy(() => tf.add<tf.Tensor2D>(weight, tf.mul(tf.matMul(b, a), 0.5)));
      const whole = await results(
        () => rowLogProbabilities(hidden, dense(merged), given.targets, batch, { weightGradient: true }),
        given.dy,
        [hidden, merged],
      );
      const dMerged = tf.tensor2d(whole.gradients[1] as Float32Array, [vocab, dim]);
      const [dA, dB] = tf.tidy(() => [
        tf.mul(tf.matMul(b, dMerged, true), 0.5),
        tf.mul(tf.matMul(dMerged, a, false, true), 0.5),
      ]) as [tf.Tensor, tf.Tensor];
      expectClose(adapted.sums, whole.sums, 5e-5);
      expectClose(adapted.gradients[0] as Float32Array, whole.gradients[0] as Float32Array, 5e-5);
      expectClose(adapted.gradients[1] as Float32Array, await dA.data<'float32'>(), 5e-5);
      expectClose(adapted.gradients[2] as Float32Array, await dB.data<'float32'>(), 5e-5);
      disposeWeight(packed);
      tf.dispose([hidden, weight, a, b, merged, dMerged, dA, dB]);
    });
  });

  it('is the loss where all rows weigh the same, to rounding, and the reference without kernels', async () => {
    const [batch, length, dim, vocab] = [3, 8, 32, 77];
    const given = problem(batch, length, dim, vocab);
    const hidden = tf.tensor2d(given.hidden, [batch * length, dim]);
    const weight = dense(tf.tensor2d(given.weight, [vocab, dim]));
    const loss = crossEntropySum(hidden, weight, given.targets);
    const run = (): Promise<{ sums: Float32Array; gradients: Float32Array[] }> =>
      results(() => rowLogProbabilities(hidden, weight, given.targets, batch), given.dy, [hidden]);
    const made = await run();
    expectClose([-made.sums.reduce((a, b) => a + b, 0)], await loss.data<'float32'>(), 1e-5);
    const reference = await withKernelMode('reference', run);
    expectClose(made.sums, reference.sums, 2e-5);
    expectClose(made.gradients[0] as Float32Array, reference.gradients[0] as Float32Array, 2e-5);
    tf.dispose([hidden, weight.values, loss]);
  });

  it('is zero for a batch without targets', async () => {
    const none = { rows: new Int32Array(), labels: new Int32Array() };
    const { sums, counts } = rowLogProbabilities(tf.zeros([4, 3]), dense(tf.zeros([5, 3])), none, 2);
    expect([...(await sums.data()), ...(await counts.data())]).toEqual([0, 0, 0, 0]);
    expect(() => rowLogProbabilities(tf.zeros([4, 3]), dense(tf.zeros([5, 3])), none, 3)).toThrow('3 rows');
  });
});

describeBackends('central differences of the log-probability of each row', ['wasm'], () => {
  it('are its gradient', async () => {
    const given = problem(2, 3, 4, 11);
    const { batch, length, dim, vocab } = given;
    const weight = dense(tf.tensor2d(given.weight, [vocab, dim]));
    const weighted = async (values: Float32Array): Promise<number> => {
      const x = tf.tensor2d(values, [batch * length, dim]);
      const { sums, counts } = rowLogProbabilities(x, weight, given.targets, batch, { training: false });
      const read = await sums.data<'float32'>();
      tf.dispose([x, sums, counts]);
      return read.reduce((sum, value, row) => sum + value * (given.dy[row] as number), 0);
    };
    const at = Array.from({ length: given.hidden.length }, (_, i) => i);
    const hidden = tf.tensor2d(given.hidden, [batch * length, dim]);
    const { gradients } = await results(() => rowLogProbabilities(hidden, weight, given.targets, batch), given.dy, [
      hidden,
    ]);
    expectClose(gradients[0] as Float32Array, await centralDifferences(weighted, given.hidden, at), 2e-3);
    tf.dispose([hidden, weight.values]);
  });
});
