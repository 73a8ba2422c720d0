import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import {
  attention,
  handWrittenOps,
  valueAndGradients,
  withKernelMode,
  type AttentionOptions,
} from '../../kernels/index.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { centralDifferences, expectClose, expectNoLeak, normals } from '../support/numeric.js';

// float32 sums of at most 80 products under an exponential, and of at most 70 keys: the gradients pass through two of
// them.
const FORWARD = 1e-5;
const BACKWARD = 2e-5;

interface Case {
  batch: number;
  queryLength: number;
  keyLength: number;
  numHeads: number;
  numKvHeads: number;
  headDim: number;
  window?: number;
  rotaryDim?: number;
  /** One list of segment starts a row of the batch. */
  segments?: number[][];
}

const CASES: Record<string, Case> = {
  'one token': { batch: 1, queryLength: 1, keyLength: 1, numHeads: 1, numKvHeads: 1, headDim: 4 },
  'two tokens, a window of one': {
    batch: 2,
    queryLength: 2,
    keyLength: 2,
    numHeads: 2,
    numKvHeads: 2,
    headDim: 4,
    window: 1,
    rotaryDim: 4,
  },
  'shared key heads': {
    batch: 2,
    queryLength: 17,
    keyLength: 17,
    numHeads: 6,
    numKvHeads: 2,
    headDim: 20,
    rotaryDim: 20,
  },
  'a window of five': {
    batch: 1,
    queryLength: 33,
    keyLength: 33,
    numHeads: 2,
    numKvHeads: 1,
    headDim: 24,
    window: 5,
    rotaryDim: 24,
  },
  'segments, partly rotated': {
    batch: 2,
    queryLength: 33,
    keyLength: 33,
    numHeads: 2,
    numKvHeads: 2,
    headDim: 20,
    rotaryDim: 6,
    segments: [
      [0, 3, 4, 20],
      [0, 31],
    ],
  },
  'several tiles': { batch: 1, queryLength: 70, keyLength: 70, numHeads: 3, numKvHeads: 1, headDim: 48, rotaryDim: 48 },
  'several tiles, window and segments': {
    batch: 2,
    queryLength: 70,
    keyLength: 70,
    numHeads: 2,
    numKvHeads: 1,
    headDim: 64,
    rotaryDim: 32,
    window: 12,
    segments: [
      [0, 1, 40],
      [0, 66],
    ],
  },
  'fewer queries than keys': {
    batch: 2,
    queryLength: 17,
    keyLength: 70,
    numHeads: 4,
    numKvHeads: 2,
    headDim: 80,
    rotaryDim: 32,
    segments: [[0, 30, 60], [0]],
  },
  'one query with cached keys': {
    batch: 2,
    queryLength: 1,
    keyLength: 33,
    numHeads: 4,
    numKvHeads: 2,
    headDim: 24,
    rotaryDim: 24,
    segments: [[0, 7], [0]],
  },
  'one query with cached keys and a window': {
    batch: 1,
    queryLength: 1,
    keyLength: 70,
    numHeads: 3,
    numKvHeads: 1,
    headDim: 128,
    rotaryDim: 128,
    window: 12,
  },
  'odd head dimension': {
    batch: 1,
    queryLength: 17,
    keyLength: 17,
    numHeads: 2,
    numKvHeads: 1,
    headDim: 7,
    rotaryDim: 6,
  },
};

function startsOf(c: Case): Int32Array {
  const starts = new Int32Array(c.batch * c.keyLength);
  (c.segments ?? []).forEach((list, b) => {
    for (let j = 0; j < c.keyLength; j++) starts[b * c.keyLength + j] = list.filter((s) => s <= j).at(-1) ?? 0;
  });
  return starts;
}

function anglesOf(c: Case, positions: number): Float32Array {
  const half = (c.rotaryDim ?? 0) / 2;
  return Float32Array.from({ length: positions * half }, (_, i) => Math.floor(i / half) / 100 ** ((i % half) / half));
}

interface Data {
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
  starts: Int32Array;
}

function dataOf(c: Case, random: Random): Data {
  const [queries, keys] = [
    c.batch * c.queryLength * c.numHeads * c.headDim,
    c.batch * c.keyLength * c.numKvHeads * c.headDim,
  ];
  return { q: normals(random, queries), k: normals(random, keys), v: normals(random, keys), starts: startsOf(c) };
}

/** Tensors of a case; the caller disposes them. */
function tensorsOf(c: Case, data: Data): { q: tf.Tensor2D; k: tf.Tensor2D; v: tf.Tensor2D; options: AttentionOptions } {
  const { rotaryDim, segments, ...options } = c;
  const angles = anglesOf(c, c.keyLength);
  const table = (f: (x: number) => number): tf.Tensor2D =>
    tf.tensor2d(angles.map(f), [c.keyLength, (rotaryDim as number) / 2]);
  return {
    q: tf.tensor2d(data.q, [c.batch * c.queryLength, c.numHeads * c.headDim]),
    k: tf.tensor2d(data.k, [c.batch * c.keyLength, c.numKvHeads * c.headDim]),
    v: tf.tensor2d(data.v, [c.batch * c.keyLength, c.numKvHeads * c.headDim]),
    options: {
      ...options,
      ...(rotaryDim === undefined ? {} : { rotary: { cos: table(Math.cos), sin: table(Math.sin) } }),
      ...(segments === undefined ? {} : { starts: tf.tensor1d(data.starts, 'int32') }),
    },
  };
}

/** The definition, one score after another in float64. */
function byDefinition(c: Case, data: Data): Float64Array {
  const { batch, queryLength, keyLength, numHeads, numKvHeads, headDim } = c;
  const half = (c.rotaryDim ?? 0) / 2;
  const angles = anglesOf(c, keyLength);
  const rotated = (x: Float32Array, at: number, position: number): number[] => {
    const out = Array.from(x.subarray(at, at + headDim));
    for (let i = 0; i < half; i++) {
      const angle = angles[position * half + i] as number;
      const [a, b] = [x[at + i] as number, x[at + half + i] as number];
      out[i] = a * Math.cos(angle) - b * Math.sin(angle);
      out[half + i] = b * Math.cos(angle) + a * Math.sin(angle);
    }
    return out;
  };
  const out = new Float64Array(batch * queryLength * numHeads * headDim);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < numHeads; h++) {
      const kvHead = Math.floor(h / (numHeads / numKvHeads));
      for (let i = 0; i < queryLength; i++) {
        const p = keyLength - queryLength + i;
        const start = data.starts[b * keyLength + p] as number;
        const to = ((b * queryLength + i) * numHeads + h) * headDim;
        const query = rotated(data.q, to, p - start);
        let sum = 0;
        for (let j = Math.max(start, p - (c.window ?? keyLength) + 1); j <= p; j++) {
          const at = ((b * keyLength + j) * numKvHeads + kvHead) * headDim;
          const key = rotated(data.k, at, j - (data.starts[b * keyLength + j] as number));
          const weight = Math.exp(query.reduce((s, x, d) => s + x * (key[d] as number), 0) / Math.sqrt(headDim));
          sum += weight;
          for (let d = 0; d < headDim; d++) out[to + d] = (out[to + d] as number) + weight * (data.v[at + d] as number);
        }
        for (let d = 0; d < headDim; d++) out[to + d] = (out[to + d] as number) / sum;
      }
    }
  }
  return out;
}

async function valuesAndGradients(
  c: Case,
  data: Data,
  weights: Float32Array,
  mode: 'auto' | 'reference',
): Promise<Float32Array[]> {
  const { q, k, v, options } = tensorsOf(c, data);
  const w = tf.tensor2d(weights, q.shape);
  const y = withKernelMode(mode, () => attention(q, k, v, options));
  const { value, gradients } = withKernelMode(mode, () =>
    valueAndGradients(() => tf.sum(tf.mul(attention(q, k, v, options), w)), [q, k, v]),
  );
  const out = await Promise.all([y, ...gradients].map((t) => t.data<'float32'>()));
  tf.dispose(
    [q, k, v, w, y, value, gradients, options.rotary?.cos, options.rotary?.sin, options.starts].filter(
      (t) => t !== undefined,
    ),
  );
  return out;
}

describeBackends('attention', ['cpu', 'wasm', 'webgpu', 'tiles'], (backend) => {
  it('has kernels of its own where it should', () => {
    expect(handWrittenOps(backend).filter((name) => name.startsWith('LowrankAttention'))).toHaveLength(
      backend === 'cpu' ? 0 : 2,
    );
  });

  it.each(Object.keys(CASES))('equals definition and reference, forward and backward: %s', async (name) => {
    const c = CASES[name] as Case;
    const random = new Random(c.keyLength * 1000 + c.headDim);
    const data = dataOf(c, random);
    const weights = normals(random, data.q.length);
    await expectNoLeak(async () => {
      const actual = await valuesAndGradients(c, data, weights, 'auto');
      const expected = await valuesAndGradients(c, data, weights, 'reference');
      expectClose(actual[0] as Float32Array, byDefinition(c, data), FORWARD, 'o');
      ['o', 'dq', 'dk', 'dv'].forEach((what, i) =>
        expectClose(actual[i] as Float32Array, expected[i] as Float32Array, i === 0 ? FORWARD : BACKWARD, what),
      );
    });
  });

  it('equals the reference at shapes drawn at random', async () => {
    const random = new Random(11);
    for (let round = 0; round < 6; round++) {
      const pick = <T>(list: readonly T[]): T => list[random.below(list.length)] as T;
      const keyLength = pick([2, 17, 33, 70]);
      const [groups, headDim] = [pick([1, 2, 3]), pick([4, 20, 24, 48, 64, 80])];
      const c: Case = {
        batch: 1 + random.below(2),
        queryLength: 1 + random.below(keyLength),
        keyLength,
        numKvHeads: 1 + random.below(2),
        numHeads: 0,
        headDim,
        rotaryDim: 2 * (1 + random.below(headDim / 2)),
        window: pick([1, 5, 12, 1000]),
        segments: [
          [0, random.below(keyLength)].sort((a, b) => a - b),
          [0, 1, random.below(keyLength)].sort((a, b) => a - b),
        ],
      };
      c.numHeads = groups * c.numKvHeads;
      const data = dataOf(c, random);
      const weights = normals(random, data.q.length);
      const [actual, expected] = [
        await valuesAndGradients(c, data, weights, 'auto'),
        await valuesAndGradients(c, data, weights, 'reference'),
      ];
      ['o', 'dq', 'dk', 'dv'].forEach((what, i) =>
        expectClose(
          actual[i] as Float32Array,
          expected[i] as Float32Array,
          i === 0 ? FORWARD : BACKWARD,
          `${what} of ${JSON.stringify(c)}`,
        ),
      );
    }
  });

  it('has the gradients that central differences show', async () => {
    const c: Case = {
      batch: 2,
      queryLength: 5,
      keyLength: 9,
      numHeads: 4,
      numKvHeads: 2,
      headDim: 8,
      rotaryDim: 6,
      window: 4,
      segments: [[0, 6], [0]],
    };
    const random = new Random(7);
    const data = dataOf(c, random);
    const weights = normals(random, data.q.length);
    const [, ...gradients] = await valuesAndGradients(c, data, weights, 'auto');
    for (const [n, name] of (['q', 'k', 'v'] as const).entries()) {
      const gradient = gradients[n] as Float32Array;
      const coordinates = Array.from({ length: 6 }, () => random.below(gradient.length));
      const f = async (values: Float32Array): Promise<number> => {
        const { q, k, v, options } = tensorsOf(c, { ...data, [name]: values });
        const y = attention(q, k, v, options);
        const out = await y.data<'float32'>();
        tf.dispose(
          [q, k, v, y, options.rotary?.cos, options.rotary?.sin, options.starts].filter((t) => t !== undefined),
        );
        return out.reduce((s, x, i) => s + x * (weights[i] as number), 0);
      };
      expectClose(
        coordinates.map((i) => gradient[i] as number),
        await centralDifferences(f, data[name], coordinates),
        2e-3,
        `d${name}`,
      );
    }
  });

  it('gives the same gradients under tf.grads', async () => {
    const c: Case = {
      batch: 1,
      queryLength: 7,
      keyLength: 7,
      numHeads: 2,
      numKvHeads: 1,
      headDim: 8,
      rotaryDim: 8,
      segments: [[0, 3]],
    };
    const random = new Random(3);
    const data = dataOf(c, random);
    const weights = normals(random, data.q.length);
    const [, ...expected] = await valuesAndGradients(c, data, weights, 'auto');
    await expectNoLeak(async () => {
      const { q, k, v, options } = tensorsOf(c, data);
      const w = tf.tensor2d(weights, q.shape);
      const gradients = tf.grads((...x) =>
        tf.sum(tf.mul(attention(x[0] as tf.Tensor2D, x[1] as tf.Tensor2D, x[2] as tf.Tensor2D, options), w)),
      )([q, k, v]);
      const actual = await Promise.all(gradients.map((t) => t.data<'float32'>()));
      tf.dispose(
        [q, k, v, w, gradients, options.rotary?.cos, options.rotary?.sin, options.starts].filter(
          (t) => t !== undefined,
        ),
      );
      actual.forEach((a, i) => expectClose(a, expected[i] as Float32Array, 1e-6));
    });
  });

  it('yields zeros, never NaN, where a query sees no key, and stays finite at huge scores', async () => {
    // Left padding as some callers write it: the start lies after the padded token itself.
    const c: Case = {
      batch: 2,
      queryLength: 18,
      keyLength: 20,
      numHeads: 2,
      numKvHeads: 1,
      headDim: 8,
      rotaryDim: 8,
      segments: [[]],
    };
    const random = new Random(5);
    const data = dataOf(c, random);
    data.starts.fill(13, 0, 20);
    data.q.forEach((x, i) => (data.q[i] = x * 100));
    const weights = normals(random, data.q.length);
    const [o, dq, dk, dv] = (await valuesAndGradients(c, data, weights, 'auto')) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    for (const [name, x] of Object.entries({ o, dq, dk, dv })) expect(x.every(Number.isFinite), name).toBe(true);
    // The first 11 queries of the first row stand before index 13; its first 13 keys are seen by nobody.
    for (const x of [o, dq]) expect(x.subarray(0, 11 * 16).every((y) => y === 0)).toBe(true);
    for (const x of [dk, dv]) expect(x.subarray(0, 13 * 8).every((y) => y === 0)).toBe(true);
    const reference = await valuesAndGradients(c, data, weights, 'reference');
    [o, dq, dk, dv].forEach((x, i) => expectClose(x, reference[i] as Float32Array, 2e-3));
  });

  it('names what does not fit', () => {
    const c: Case = { batch: 1, queryLength: 3, keyLength: 3, numHeads: 3, numKvHeads: 2, headDim: 4 };
    tf.tidy(() => {
      const x = tf.zeros([3, 12]) as tf.Tensor2D;
      expect(() => attention(x, x, x, c)).toThrow('3 heads cannot share 2 key heads');
      expect(() => attention(x, x, tf.zeros([2, 12]), { ...c, numKvHeads: 3 })).toThrow(
        'v is [2, 12], expected [3, 12]',
      );
      expect(() =>
        attention(x, x, x, { ...c, numKvHeads: 3, rotary: { cos: tf.zeros([2, 2]), sin: tf.zeros([2, 2]) } }),
      ).toThrow('3 positions');
    });
  });
});
