import * as tf from '@tensorflow/tfjs-core';
import { afterEach, describe, expect, it } from 'vitest';
import { gpuBackend } from '../../kernels/tfjs/webgpu.js';
import {
  disposeWeight,
  linear,
  linears,
  quantizedMatmul,
  uploadDense,
  uploadQuantized,
  valueAndGradients,
  type FrozenWeight,
  type LinearMember,
} from '../../kernels/index.js';
import { matmul } from '../../kernels/matmul/kernel.js';
import { emulateMatrixUnit, matrixUnitOf, type MatrixUnit } from '../../kernels/runtime/webgpu/matrix-unit.js';
import { setKernelVariant } from '../../kernels/runtime/variant.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { expectNoLeak, normals } from '../support/numeric.js';

// float16 rounds each factor by 2^-12 of it on average: the error of a sum, relative to the norm of all sums.
const TOLERANCE = { f16: 1e-3, f32: 2e-6 };
// The compiler of a software device takes seconds for a pipeline.
const PATIENCE = 300_000;

type Unit = Omit<MatrixUnit, 'emulated' | 'pinned'>;
// Sides that differ, so that none can stand for another.
const UNEQUAL: Unit = { element: 'f16', m: 8, n: 16, k: 8, lanes: 8 };
const FULL: Unit = { element: 'f32', m: 16, n: 8, k: 8, lanes: 4 };
const OWN = 'what the device has';
const UNITS: readonly (Unit | typeof OWN)[] = [UNEQUAL, OWN];

/** ‖y − y'‖ / ‖y'‖ */
function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [error, norm] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    error += ((actual[i] as number) - (expected[i] as number)) ** 2;
    norm += (expected[i] as number) ** 2;
  }
  return Math.sqrt(error / norm);
}

function device(): { features: { has(feature: string): boolean } } {
  return gpuBackend().device;
}

describeBackends('products by the matrices of subgroups', ['webgpu'], () => {
  afterEach(() => {
    setKernelVariant('auto');
    emulateMatrixUnit(undefined);
  });

  /** What `run` gives by matrices, and as float32. */
  async function both(run: () => tf.Tensor[]): Promise<[Float32Array, Float32Array][]> {
    const values = async (): Promise<Float32Array[]> => {
      const outputs = run();
      const all = (await Promise.all(outputs.map((t) => t.data()))) as Float32Array[];
      tf.dispose(outputs);
      return all;
    };
    setKernelVariant('f32');
    const expected = await values();
    setKernelVariant('subgroup-matrix');
    const actual = await values();
    return actual.map((a, i) => [a, expected[i] as Float32Array]);
  }

  async function check(unit: Unit, run: () => tf.Tensor[]): Promise<void> {
    const pairs = await both(run);
    for (const [i, [actual, expected]] of pairs.entries()) {
      expect(actual.length).toBe(expected.length);
      expect(difference(actual, expected), `output ${i}`).toBeLessThan(TOLERANCE[unit.element]);
      // They are not the same sums: the variant was taken.
      if (unit.element === 'f16') expect(actual).not.toEqual(expected);
    }
  }

  async function multiply(unit: Unit, form: 'nt' | 'nn'): Promise<void> {
    const random = new Random(9);
    const [m, n, k] = [33, 49, 71];
    await expectNoLeak(async () => {
      const x = tf.tensor2d(normals(random, m * k), [m, k]);
      const w = tf.tensor2d(normals(random, n * k), form === 'nt' ? [n, k] : [k, n]);
      await check(unit, () => [matmul(x, w, form, 0.5)]);
      tf.dispose([x, w]);
    });
  }

  describe.each(UNITS)('%j', (wanted) => {
    const take = (): Unit | undefined => {
      if (wanted !== OWN) {
        emulateMatrixUnit(wanted);
        return wanted;
      }
      const unit = matrixUnitOf(device());
      return 'missing' in unit ? undefined : unit;
    };

    it.each(['nt', 'nn'] as const)(
      'multiplies %s at sizes that are no multiple of anything',
      async (form) => {
        const unit = take();
        if (unit !== undefined) await multiply(unit, form);
      },
      PATIENCE,
    );

    // Emulated, a size that is read in vectors takes half a minute to compile.
    it.each([[33, 49, 71], ...(wanted === OWN ? [[40, 96, 128]] : [])] as [number, number, number][])(
      'decodes 4-bit weights: %i tokens, [%i, %i]',
      async (tokens, out, inner) => {
        const unit = take();
        if (unit === undefined) return;
        const random = new Random(out);
        const w = uploadQuantized(
          quantize4bit(normals(random, out * inner, 0.05), [out, inner], {
            quantType: 'nf4',
            doubleQuant: true,
            dtype: 'BF16',
          }),
        );
        const [x, dy] = [
          tf.tensor2d(normals(random, tokens * inner), [tokens, inner]),
          tf.tensor2d(normals(random, tokens * out), [tokens, out]),
        ];
        await check(unit, () => [quantizedMatmul(x, w), quantizedMatmul(dy, w, true)]);
        disposeWeight(w);
        tf.dispose([x, dy]);
      },
      PATIENCE,
    );

    it.each(wanted === OWN ? (['dense', '4bit'] as const) : (['4bit'] as const))(
      'does linear layers that share an input: %s',
      async (kind) => {
        const unit = take();
        if (unit === undefined) return;
        const random = new Random(3);
        const [tokens, inner] = [37, 72];
        const matrix = (rows: number, cols: number): tf.Tensor2D =>
          tf.tensor2d(normals(random, rows * cols, 0.3), [rows, cols]);
        const weightOf = (out: number): FrozenWeight => {
          const values = normals(random, out * inner, 0.1);
          return kind === 'dense'
            ? uploadDense(values, [out, inner])
            : uploadQuantized(
                quantize4bit(values, [out, inner], { quantType: 'nf4', doubleQuant: true, dtype: 'F32' }),
              );
        };
        const x = matrix(tokens, inner);
        const members = [44, 24, 24].map((out, i): LinearMember => ({
          weight: weightOf(out),
          lora: { a: matrix(4 + i, inner), b: matrix(out, 4 + i), scale: 0.5 + i },
          ...(i === 0 ? { bias: tf.tensor1d(normals(random, out)) } : {}),
        }));
        const run = (): tf.Tensor[] => {
          const { value, gradients } = valueAndGradients(
            () => tf.addN(linears(x, members).map((y) => tf.sum(tf.square(y)))) as tf.Scalar,
            [x],
          );
          value.dispose();
          return [...linears(x, members), ...gradients];
        };
        await check(unit, run);
        for (const { weight } of members) disposeWeight(weight);
        tf.dispose([
          x,
          ...members.flatMap(({ bias, lora }) => [bias, lora?.a, lora?.b].filter((t) => t !== undefined)),
        ]);
      },
      PATIENCE,
    );
  });

  it(
    'multiplies numbers of float32 where that is what the device has',
    async () => {
      emulateMatrixUnit(FULL);
      await multiply(FULL, 'nt');
    },
    PATIENCE,
  );

  it(
    'keeps rows of any magnitude: those of 1e-12, of 1e9, and of zeros',
    async () => {
      emulateMatrixUnit(UNEQUAL);
      const random = new Random(8);
      const [m, n, k] = [18, 25, 41];
      const magnitudes = Array.from({ length: m }, (_, i) => [1e-12, 1, 1e9, 0][i % 4] as number);
      const xs = normals(random, m * k).map((value, i) => value * (magnitudes[Math.floor(i / k)] as number));
      const [x, w] = [tf.tensor2d(xs, [m, k]), tf.tensor2d(normals(random, n * k), [n, k])];
      const [[actual, expected]] = (await both(() => [matmul(x, w, 'nt')])) as [[Float32Array, Float32Array]];
      for (const [row, magnitude] of magnitudes.entries()) {
        const [a, e] = [actual.subarray(row * n, row * n + n), expected.subarray(row * n, row * n + n)];
        if (magnitude === 0) expect([...a]).toEqual([...e]);
        else expect(difference(a, e), `row ${row}`).toBeLessThan(TOLERANCE.f16);
      }
      tf.dispose([x, w]);
    },
    PATIENCE,
  );

  it(
    'lets what is not a number through',
    async () => {
      emulateMatrixUnit(UNEQUAL);
      setKernelVariant('subgroup-matrix');
      const xs = new Float32Array(16 * 17).fill(1);
      xs[17 * 3 + 5] = NaN;
      const [x, w] = [tf.tensor2d(xs, [16, 17]), tf.ones([17, 17]) as tf.Tensor2D];
      const y = matmul(x, w, 'nt');
      const values = await y.data();
      for (let row = 0; row < 16; row++) expect(Number.isNaN(values[17 * row] as number), `row ${row}`).toBe(row === 3);
      tf.dispose([x, w, y]);
    },
    PATIENCE,
  );

  it('says why it cannot run', () => {
    const unit = matrixUnitOf(device());
    if (!('missing' in unit)) return;
    setKernelVariant('subgroup-matrix');
    const [x, weight] = [tf.ones([16, 16]) as tf.Tensor2D, uploadDense(new Float32Array(256), [16, 16])];
    expect(() => linear(x, weight)).toThrow(`kernel variant 'subgroup-matrix' cannot run here: ${unit.missing}`);
    disposeWeight(weight);
    x.dispose();
  });
});
