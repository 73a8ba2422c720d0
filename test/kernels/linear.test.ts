import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import {
  disposeWeight,
  gpuDispatchCount,
  linear,
  uploadDense,
  uploadQuantized,
  valueAndGradients,
  withKernelMode,
  type FrozenWeight,
  type LinearOptions,
} from '../../kernels/index.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { centralDifferences, expectClose, expectNoLeak, normals } from '../support/numeric.js';

// Sums of at most 400 products in float32, in another order than the reference's.
const TOLERANCE = 2e-5;

interface Case {
  readonly n: number;
  readonly inner: number;
  readonly out: number;
  readonly rank: number;
  readonly base: 'dense' | 'nf4' | 'nested';
  readonly parts: 'plain' | 'bias' | 'lora' | 'dropout' | 'all';
}

const SIZES = [
  { n: 1, inner: 7, out: 3, rank: 1 },
  { n: 9, inner: 65, out: 33, rank: 3 },
  { n: 31, inner: 100, out: 129, rank: 8 },
  { n: 5, inner: 391, out: 8, rank: 16 },
];
const CASES: Case[] = SIZES.flatMap((size) =>
  (['dense', 'nf4', 'nested'] as const).flatMap((base) =>
    (['plain', 'bias', 'lora', 'dropout', 'all'] as const).map((parts) => ({ ...size, base, parts })),
  ),
);
// A software adapter compiles each shader for seconds. A third of the cases has every pair of size, base and parts.
const SOME = CASES.filter((_, i) => i % 3 === Math.floor(i / 15) % 3);

type Arrays = Record<string, Float32Array>;
type Matrices = Record<string, tf.Tensor>;

function has(parts: Case['parts'], what: 'bias' | 'lora' | 'dropout'): boolean {
  return parts === what || parts === 'all' || (what === 'lora' && parts === 'dropout');
}

function makeArrays({ n, inner, out, rank, parts }: Case): Arrays {
  const random = new Random(n * 7919 + inner * 31 + rank);
  return {
    x: normals(random, n * inner),
    ...(has(parts, 'bias') ? { bias: normals(random, out) } : {}),
    ...(has(parts, 'lora') ? { a: normals(random, rank * inner, 0.2), b: normals(random, out * rank, 0.2) } : {}),
    ...(has(parts, 'dropout') ? { loraInput: normals(random, n * inner) } : {}),
  };
}

function upload(arrays: Arrays, { n, inner, out, rank }: Case): Matrices {
  const shapes: Record<string, number[]> = {
    x: [n, inner],
    bias: [out],
    a: [rank, inner],
    b: [out, rank],
    loraInput: [n, inner],
  };
  return Object.fromEntries(Object.entries(arrays).map(([name, values]) => [name, tf.tensor(values, shapes[name])]));
}

function uploadWeight({ inner, out, base }: Case): FrozenWeight {
  const values = normals(new Random(out * 13 + inner), out * inner, 0.1);
  if (base === 'dense') return uploadDense(values, [out, inner]);
  return uploadQuantized(
    quantize4bit(values, [out, inner], { quantType: 'nf4', doubleQuant: base === 'nested', dtype: 'BF16' }),
  );
}

function apply({ x, bias, a, b, loraInput }: Matrices, weight: FrozenWeight, valueUnused = false): tf.Tensor2D {
  const options: LinearOptions = {
    bias: bias as tf.Tensor1D | undefined,
    lora: a === undefined ? undefined : { a: a as tf.Tensor2D, b: b as tf.Tensor2D, scale: 1.5 },
    loraInput: loraInput as tf.Tensor2D | undefined,
    valueUnused,
  };
  return linear(x as tf.Tensor2D, weight, options);
}

describeBackends('linear', ['cpu', 'wasm', 'webgpu', 'tiles'], (backend, target) => {
  it.each(target === 'tiles' ? SOME : CASES)(
    'equals the reference: $n tokens, $inner -> $out, rank $rank, $base, $parts',
    async (c) => {
      const arrays = makeArrays(c);
      const cs = normals(new Random(3), c.n * c.out);
      await expectNoLeak(async () => {
        const run = async (mode: 'auto' | 'reference'): Promise<Arrays> => {
          const weight = uploadWeight(c);
          const inputs = upload(arrays, c);
          const targets = weight.kind === 'dense' ? { ...inputs, w: weight.values } : inputs;
          const factor = tf.tensor2d(cs, [c.n, c.out]);
          const y = withKernelMode(mode, () => apply(inputs, weight));
          const { value, gradients } = withKernelMode(mode, () =>
            valueAndGradients(() => tf.sum(tf.mul(apply(inputs, weight), factor)), Object.values(targets)),
          );
          const out: Arrays = { y: await y.data<'float32'>() };
          for (const [i, name] of Object.keys(targets).entries())
            out[`d${name}`] = await (gradients[i] as tf.Tensor).data<'float32'>();
          tf.dispose([inputs, factor, y, value, gradients]);
          disposeWeight(weight);
          return out;
        };
        const [actual, expected] = [await run('auto'), await run('reference')];
        for (const name of Object.keys(expected))
          expectClose(actual[name] as Float32Array, expected[name] as Float32Array, TOLERANCE, name);
      });
    },
  );

  it('has the gradients that central differences show', async () => {
    const c: Case = { n: 4, inner: 13, out: 6, rank: 2, base: 'nested', parts: 'all' };
    const arrays = makeArrays(c);
    const weight = uploadWeight(c);
    const cs = normals(new Random(3), c.n * c.out);
    const loss = (inputs: Matrices): tf.Scalar =>
      tf.sum(tf.mul(tf.square(apply(inputs, weight)), tf.tensor2d(cs, [c.n, c.out])));
    const inputs = upload(arrays, c);
    const { value, gradients } = valueAndGradients(() => loss(inputs), Object.values(inputs));
    for (const [i, name] of Object.keys(inputs).entries()) {
      const gradient = await (gradients[i] as tf.Tensor).data();
      const f = async (v: Float32Array): Promise<number> => {
        const moved = upload({ ...arrays, [name]: v }, c);
        const at = tf.tidy(() => loss(moved));
        const [result] = await at.data();
        tf.dispose([moved, at]);
        return result as number;
      };
      const values = arrays[name] as Float32Array;
      const coordinates = [0, 3, values.length - 1];
      expectClose(
        coordinates.map((k) => gradient[k] as number),
        await centralDifferences(f, values, coordinates),
        3e-3,
        `d${name}`,
      );
    }
    tf.dispose([inputs, value, gradients]);
    disposeWeight(weight);
  });

  it.each(CASES.filter(({ n, base }) => n === 31 && base !== 'nf4'))(
    'has the same gradients where nobody reads its values, and does not make them: $base, $parts',
    async (c) => {
      const arrays = makeArrays(c);
      await expectNoLeak(async () => {
        const weight = uploadWeight(c);
        const [inputs, factor] = [upload(arrays, c), tf.tensor2d(normals(new Random(3), c.n * c.out), [c.n, c.out])];
        const run = async (valueUnused: boolean): Promise<{ gradients: Float32Array[]; dispatches: number }> => {
          const before = backend === 'webgpu' ? gpuDispatchCount(tf.backend()) : 0;
          const { value, gradients } = valueAndGradients(
            () => tf.sum(tf.mul(apply(inputs, weight, valueUnused), factor)),
            Object.values(inputs),
          );
          const dispatches = backend === 'webgpu' ? gpuDispatchCount(tf.backend()) - before : 0;
          const values = await Promise.all(gradients.map((gradient) => gradient.data<'float32'>()));
          tf.dispose([value, gradients]);
          return { gradients: values, dispatches };
        };
        const [made, left] = [await run(false), await run(true)];
        expect(left.gradients).toEqual(made.gradients);
        if (backend === 'webgpu') expect(left.dispatches).toBeLessThan(made.dispatches);
        tf.dispose([inputs, factor]);
        disposeWeight(weight);
      });
    },
  );

  it('leaves nothing behind under tf.grads either', async () => {
    const c: Case = { n: 3, inner: 10, out: 5, rank: 2, base: 'nf4', parts: 'lora' };
    const weight = uploadWeight(c);
    const { x, a, b } = upload(makeArrays(c), c) as { x: tf.Tensor; a: tf.Tensor; b: tf.Tensor };
    await expectNoLeak(async () => {
      const own = valueAndGradients(() => tf.sum(tf.square(apply({ x, a, b }, weight))), [x, a, b]);
      const stock = tf.grads((...t: tf.Tensor[]) =>
        tf.sum(tf.square(apply({ x: t[0] as tf.Tensor, a: t[1] as tf.Tensor, b: t[2] as tf.Tensor }, weight))),
      )([x, a, b]);
      for (let i = 0; i < 3; i++)
        expectClose(await (own.gradients[i] as tf.Tensor).data(), await (stock[i] as tf.Tensor).data(), 1e-6);
      tf.dispose([own.value, own.gradients, stock]);
    });
    tf.dispose([x, a, b]);
    disposeWeight(weight);
  });

  it('says which shapes do not fit', () => {
    const weight = uploadDense(new Float32Array(12), [3, 4]);
    const x = tf.ones<tf.Rank.R2>([2, 5]);
    expect(() => linear(x, weight)).toThrow(/a weight \[3, 4\] does not fit x \[2, 5\]/);
    x.dispose();
    disposeWeight(weight);
  });
});
