import * as tf from '@tensorflow/tfjs-core';
import { afterEach, expect, it } from 'vitest';
import {
  crossEntropySum,
  dequantize,
  disposeWeight,
  downloadQuantized,
  embedding,
  linear,
  uploadDense,
  uploadQuantized,
  valueAndGradients,
  withKernelMode,
  type FrozenWeight,
  type LowRank,
} from '../../kernels/index.js';
import { limitBindings, rowStretches } from '../../kernels/runtime/webgpu/row-blocks.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { expectClose, expectNoLeak, normals } from '../support/numeric.js';

const TOLERANCE = 2e-5;
const PATIENCE = 300_000;

describeBackends('weights larger than a binding', ['webgpu', 'tiles'], () => {
  afterEach(() => {
    limitBindings(undefined);
  });

  const matrix = (random: Random, rows: number, cols: number): tf.Tensor2D =>
    tf.tensor2d(normals(random, rows * cols, 0.3), [rows, cols]);

  async function read(tensors: readonly tf.Tensor[]): Promise<Float32Array[]> {
    const values = await Promise.all(tensors.map((t) => t.data<'float32'>()));
    tf.dispose(tensors as tf.Tensor[]);
    return values.map((v) => v.slice());
  }

  /** A layer with everything that its product adds, and all its gradients. */
  function layer(weight: FrozenWeight, tokens: number): tf.Tensor[] {
    const [out, inner] = weight.shape;
    const random = new Random(7);
    const [x, a, b] = [matrix(random, tokens, inner), matrix(random, 5, inner), matrix(random, out, 5)];
    const bias = tf.tensor1d(normals(random, out));
    const lora: LowRank = { a, b, scale: 2 };
    const y = linear(x, weight, { bias, lora });
    const { value, gradients } = valueAndGradients(
      () => tf.mean(tf.square(linear(x, weight, { bias, lora }))),
      [x, a, b],
    );
    tf.dispose([x, a, b, bias, value]);
    return [y, ...gradients];
  }

  // Two whole parts and a rest; widths that are multiples of 4 and not; a few tokens and many.
  it.each([
    [172, 72, 21],
    [172, 72, 3],
    [173, 71, 21],
    [173, 71, 3],
  ])(
    'a float weight [%i, %i] with %i tokens',
    async (out, inner, tokens) => {
      const values = normals(new Random(1), out * inner, 0.3);
      await expectNoLeak(async () => {
        const whole = uploadDense(values, [out, inner]);
        const expected = await read(layer(whole, tokens));
        limitBindings(4 * inner * 70);
        const weight = uploadDense(values, [out, inner]);
        const found = await read(layer(weight, tokens));
        expected.forEach((wanted, i) => expectClose(found[i] as Float32Array, wanted, TOLERANCE, `output ${i}`));
        // It can still be read, and nothing else takes it by mistake.
        expect(await weight.values.data()).toEqual(values);
        expect(() => tf.square(weight.values)).toThrow(/larger than what this device can bind/);
        disposeWeight(weight);
        disposeWeight(whole);
      });
    },
    PATIENCE,
  );

  it.each([
    ['nested', true, 21],
    ['nested', true, 3],
    ['plain', false, 21],
  ] as const)(
    'a 4-bit weight with %s scales (%s) and %i tokens',
    async (_name, doubleQuant, tokens) => {
      // 32 rows of 512 values are the 16384 whose scales share one of the second kind; parts take 192.
      const [out, inner] = [428, 512];
      const host = quantize4bit(normals(new Random(2), out * inner, 0.3), [out, inner], {
        quantType: 'nf4',
        blockSize: 64,
        doubleQuant,
        dtype: 'BF16',
      });
      const whole = uploadQuantized(host);
      const expected = await read(layer(whole, tokens));
      limitBindings((inner / 2) * 200);
      const weight = uploadQuantized(host);
      const found = await read(layer(weight, tokens));
      expected.forEach((wanted, i) => expectClose(found[i] as Float32Array, wanted, TOLERANCE, `output ${i}`));
      expect(await downloadQuantized(weight)).toEqual(host);
      expect(() => dequantize(weight)).toThrow(/larger than what this device can bind/);
      disposeWeight(weight);
      disposeWeight(whole);
    },
    PATIENCE,
  );

  it(
    'an embedding that is also the output layer',
    async () => {
      const [vocab, dim] = [201, 36];
      const values = normals(new Random(3), vocab * dim, 0.3);
      const ids = tf.tensor1d([0, 63, 64, 127, 128, 191, 192, 200, 201, -1, 5], 'int32');
      const run = (weight: FrozenWeight & { kind: 'dense' }): tf.Tensor[] => {
        const hidden = embedding(weight.values, ids);
        const targets = { rows: Int32Array.from([0, 2, 3, 7]), labels: Int32Array.from([200, 64, 3, 130]) };
        const { value, gradients } = valueAndGradients(() => crossEntropySum(hidden, weight, targets), [hidden]);
        return [hidden, value, ...gradients];
      };
      const whole = uploadDense(values, [vocab, dim]);
      const expected = await read(withKernelMode('reference', () => run(whole)));
      limitBindings(4 * dim * 64);
      const weight = uploadDense(values, [vocab, dim]);
      const found = await read(run(weight));
      expected.forEach((wanted, i) => expectClose(found[i] as Float32Array, wanted, TOLERANCE, `output ${i}`));
      disposeWeight(weight);
      disposeWeight(whole);
      ids.dispose();
    },
    PATIENCE,
  );

  it(
    'gives the device back its memory',
    async () => {
      const bytes = (): number => (tf.memory() as unknown as { numBytesInGPU: number }).numBytesInGPU;
      limitBindings(4 * 64 * 64);
      const use = async (): Promise<void> => {
        const weight = uploadDense(new Float32Array(640 * 64).fill(1), [640, 64]);
        const y = tf.tidy(() => linear(tf.ones([9, 64]), weight));
        expect((await y.data()).every((value) => value === 64)).toBe(true);
        y.dispose();
        disposeWeight(weight);
        // Buffers go back after the next submit.
        await tf.zeros([1]).data();
      };
      await use();
      const before = bytes();
      for (let i = 0; i < 3; i++) await use();
      expect(bytes()).toBe(before);
    },
    PATIENCE,
  );

  it('is refused where not even a few rows fit', () => {
    limitBindings(1000);
    expect(() => rowStretches(tf.backend(), 100, 400)).toThrow(/64 rows of 400 bytes do not fit into a buffer of 1000/);
    expect(rowStretches(tf.backend(), 2, 400)).toBeUndefined();
  });
});
