import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  adamwUpdate,
  attention,
  crossEntropySum,
  dequantize,
  disposeWeight,
  dropout,
  embedding,
  gelu,
  layerNorm,
  linear,
  matmul,
  quantizedMatmul,
  rmsNorm,
  swiglu,
  uploadQuantized,
  valueAndGradients,
  withKernelMode,
} from '../../kernels/index.js';
import {
  finishJobs,
  parallelFor,
  startThreads,
  threadCount,
  withoutThreads,
} from '../../kernels/runtime/threads/threads.js';
import { wasmMemory, wasmOffset, wasmOutput } from '../../kernels/runtime/wasm/module.js';
import { wasmSource } from '../../kernels/swiglu/wasm.generated.js';
import { settle } from '../../src/bench/measure.js';
import { watchMemory } from '../../src/bench/memory.js';
import type { Device } from '../../src/device/device.js';
import { nodeHost } from '../../src/device/node.js';
import { openWasm } from '../../src/device/wasm.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { expectNoLeak, normals } from '../support/numeric.js';

type Case = readonly [name: string, run: (random: Random) => tf.Tensor[]];

function matrix(random: Random, rows: number, cols: number): tf.Tensor2D {
  return tf.tensor2d(normals(random, rows * cols), [rows, cols]);
}

/** f(out, begin, end, scratch): out[i] = scratch for i in [begin, end), which tells the thread. */
const SCRATCH_MARKER = {
  name: 'scratch-marker',
  base64: Buffer.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, 8, 1, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 0],
    ...[2, 15, 1, 3, 0x65, 0x6e, 0x76, 6, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 2, 0, 1],
    ...[3, 2, 1, 0],
    ...[7, 5, 1, 1, 0x66, 0, 0],
    // loop: out[begin] = scratch; begin += 1; again while begin < end
    ...[
      10, 32, 1, 30, 0, 3, 0x40, 0x20, 0, 0x20, 1, 0x41, 2, 0x74, 0x6a, 0x20, 3, 0x36, 2, 0, 0x20, 1, 0x41, 1, 0x6a,
      0x22, 1, 0x20, 2, 0x48, 0x0d, 0, 0x0b, 0x0b,
    ],
  ]).toString('base64'),
};

/** An op's value and its gradients; the inputs go with the tidy around it. */
function differentiated(op: () => tf.Tensor, inputs: tf.Tensor[]): tf.Tensor[] {
  const { value, gradients } = valueAndGradients(() => {
    const y = op();
    return tf.sum(tf.mul(y, y)) as tf.Scalar;
  }, inputs);
  return [op(), value, ...gradients];
}

// Sizes above the threshold under which a job stays whole, and multiples of nothing.
const CASES: readonly Case[] = [
  [
    'swiglu',
    (r) => {
      const [g, u] = [matrix(r, 131, 577), matrix(r, 131, 577)];
      return differentiated(() => swiglu(g, u, 'silu'), [g, u]);
    },
  ],
  [
    'geglu',
    (r) => {
      const [g, u] = [matrix(r, 67, 1023), matrix(r, 67, 1023)];
      return differentiated(() => swiglu(g, u, 'gelu'), [g, u]);
    },
  ],
  [
    'layer-norm',
    (r) => {
      const [x, w, b] = [matrix(r, 509, 383), tf.tensor1d(normals(r, 383)), tf.tensor1d(normals(r, 383))];
      return differentiated(() => layerNorm(x, w, b, 1e-5), [x, w, b]);
    },
  ],
  [
    'gelu',
    (r) => {
      const x = matrix(r, 131, 577);
      return differentiated(() => gelu(x), [x]);
    },
  ],
  [
    'rms-norm',
    (r) => {
      const [x, w] = [matrix(r, 509, 383), tf.tensor1d(normals(r, 383))];
      return differentiated(() => rmsNorm(x, w, 1e-5), [x]);
    },
  ],
  ['dropout', (r) => [dropout(matrix(r, 257, 513), 0.3, 7, 11)]],
  [
    'embedding',
    (r) => {
      const ids = tf.tensor1d(
        Int32Array.from({ length: 700 }, () => r.below(301)),
        'int32',
      );
      const table = matrix(r, 301, 389);
      return differentiated(() => embedding(table, ids), [table]);
    },
  ],
  [
    'cross-entropy',
    (r) => {
      const [hidden, values] = [matrix(r, 97, 65), matrix(r, 1511, 65)];
      const rows = Int32Array.from({ length: 95 }, (_, i) => i);
      return differentiated(
        () => crossEntropySum(hidden, { kind: 'dense', shape: [1511, 65], values }, { rows, labels: rows }),
        [hidden],
      );
    },
  ],
  [
    'adamw',
    (r) => {
      const [parameter, m, v] = [0, 1, 2].map((i) =>
        tf.variable(i === 2 ? tf.abs(matrix(r, 401, 333)) : matrix(r, 401, 333)),
      ) as [tf.Variable, tf.Variable, tf.Variable];
      adamwUpdate(
        [{ parameter, m, v, gradient: matrix(r, 401, 333) }],
        { learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1, step: 3 },
        0.5,
      );
      const values = [parameter, m, v].map((t) => tf.clone(t));
      for (const variable of [parameter, m, v]) variable.dispose();
      return values;
    },
  ],
  ...(['nn', 'nt', 'tn'] as const).map((form): Case => [
    `matmul ${form}`,
    (r) => {
      const [n, k, m] = [197, 403, 311];
      const x = form === 'tn' ? matrix(r, k, n) : matrix(r, n, k);
      const w = form === 'nt' ? matrix(r, m, k) : matrix(r, k, m);
      return differentiated(() => matmul(x, w, form, 0.7), [x, w]);
    },
  ]),
  [
    'matmul of few rows',
    (r) => {
      const w = matrix(r, 1501, 301);
      return [1, 2, 3, 4, 5, 7].map((n) => matmul(matrix(r, n, 301), w, 'nt'));
    },
  ],
  [
    'matmul of few columns',
    (r) => {
      const x = matrix(r, 1501, 301);
      return [1, 8, 9].map((m) => matmul(x, matrix(r, m, 301), 'nt'));
    },
  ],
  // Threads get 2 and 1, or 1 and 1 panels, and the sums are made in pieces.
  [
    'matmul in single panels',
    (r) => [
      matmul(matrix(r, 24, 8000), matrix(r, 24, 8000), 'nt'),
      matmul(matrix(r, 48, 8000), matrix(r, 48, 8000), 'nt'),
    ],
  ],
  [
    '4-bit weights',
    (r) => {
      const packed = quantize4bit(normals(r, 387 * 451), [387, 451], {
        quantType: 'nf4',
        blockSize: 64,
        doubleQuant: true,
        dtype: 'BF16',
      });
      const weight = uploadQuantized(packed);
      const [x, dy, few] = [matrix(r, 131, 451), matrix(r, 131, 387), matrix(r, 3, 451)];
      const [a, b] = [matrix(r, 8, 451), matrix(r, 387, 8)];
      const bias = tf.tensor1d(normals(r, 387));
      const layer = differentiated(() => linear(x, weight, { bias, lora: { a, b, scale: 2 } }), [x, a, b]);
      const all = [
        dequantize(weight),
        quantizedMatmul(x, weight),
        quantizedMatmul(dy, weight, true),
        quantizedMatmul(few, weight),
        ...layer,
      ];
      disposeWeight(weight);
      return all;
    },
  ],
  [
    'attention',
    (r) => {
      const [batch, length, heads, kvHeads, dim] = [3, 83, 6, 3, 20];
      const [q, k, v] = [heads, kvHeads, kvHeads].map((h) => matrix(r, batch * length, h * dim)) as [
        tf.Tensor2D,
        tf.Tensor2D,
        tf.Tensor2D,
      ];
      const rotary = { cos: matrix(r, length, dim / 2), sin: matrix(r, length, dim / 2) };
      const options = {
        batch,
        queryLength: length,
        keyLength: length,
        numHeads: heads,
        numKvHeads: kvHeads,
        headDim: dim,
        rotary,
      };
      return differentiated(() => attention(q, k, v, options), [q, k, v]);
    },
  ],
];

/** The bits of everything that an op yields, so that NaN equals NaN and 0 is not −0. */
async function bitsOf([, run]: Case): Promise<Uint32Array[]> {
  const tensors = tf.tidy(() => run(new Random(5)));
  const data = await Promise.all(tensors.map((t) => t.data<'float32'>()));
  tf.dispose(tensors);
  return data.map((values) => new Uint32Array(values.buffer));
}

describe.each([2, 3])('kernels on %i threads', (threads) => {
  let device: Device;
  beforeAll(async () => {
    device = await openWasm('asked for by name', nodeHost, { threads });
    expect(threadCount(tf.backend())).toBe(threads);
  });
  afterAll(async () => {
    await device.close();
    expect(threadCount(tf.backend())).toBe(1);
  });

  it.each(CASES.map((one) => [one[0], one] as const))(
    '%s: the bits of one thread, and nothing left over',
    async (_name, one) => {
      await expectNoLeak(async () => {
        const alone = await withoutThreadsAsync(() => bitsOf(one));
        for (let repeat = 0; repeat < 3; repeat++) {
          const together = await bitsOf(one);
          together.forEach((bits, i) =>
            expect(
              Buffer.compare(Buffer.from(bits.buffer), Buffer.from((alone[i] as Uint32Array).buffer)),
              `output ${i}`,
            ).toBe(0),
          );
        }
      });
    },
  );

  it('does thousands of small jobs, while the heap grows', async () => {
    const x = tf.tensor2d(
      Float32Array.from({ length: 33_000 }, (_, i) => (i % 997) / 100),
      [33, 1000],
    );
    const expected = await withKernelMode('reference', () => tf.tidy(() => tf.mul(swiglu(x, x), 1))).data<'float32'>();
    const kept: tf.Tensor[] = [];
    for (let i = 0; i < 3000; i++) {
      const y = swiglu(x, x);
      if (i % 300 === 0) {
        kept.push(tf.zeros([2_000_000]));
        const data = await y.data<'float32'>();
        let worst = 0;
        data.forEach((value, at) => (worst = Math.max(worst, Math.abs(value - (expected[at] as number)))));
        expect(worst).toBeLessThan(1e-4);
      }
      y.dispose();
    }
    tf.dispose([x, ...kept]);
  });

  it('hands parts to other threads', async () => {
    await expect
      .poll(
        () => {
          const out = tf.zeros([4_000_000], 'int32');
          parallelFor(tf.backend(), SCRATCH_MARKER, 'f', [wasmOffset(tf.backend(), out)], {
            count: 4_000_000,
            cost: 1,
            scratchBytes: 128,
          });
          return out.data<'int32'>().then((marks) => {
            out.dispose();
            expect(marks.includes(0)).toBe(false);
            return new Set(marks).size;
          });
        },
        { timeout: 60_000 },
      )
      .toBeGreaterThan(1);
  });

  it('covers every item once, whatever the number of items and their cost', async () => {
    const covered = async (count: number, cost: number, align: number): Promise<void> => {
      // In place: silu(3) · 3 is 8.57, and what is done twice is 73.5.
      const x = tf.fill([count + 8], 3);
      const at = wasmOffset(tf.backend(), x);
      parallelFor(tf.backend(), wasmSource, 'forward', [at, at, at, 0], { count, cost, align, scratchBytes: 64 });
      const values = await x.data<'float32'>();
      x.dispose();
      expect(values.slice(0, count).every((value) => Math.abs(value - 8.5731) < 1e-3)).toBe(true);
      expect([...values.slice(count)]).toEqual(Array(8).fill(3));
    };
    const args = [
      fc.nat(5000),
      fc.double({ min: 0, max: 1e5, noNaN: true }),
      fc.integer({ min: 1, max: 130 }),
    ] as const;
    await fc.assert(fc.asyncProperty(...args, covered), { numRuns: 200 });
  });

  it('reports a kernel that traps, and goes on', async () => {
    const bad = [2 ** 31 + 2 ** 30, 2 ** 31 + 2 ** 30, 2 ** 31 + 2 ** 30, 0];
    parallelFor(tf.backend(), wasmSource, 'forward', bad, { count: 1_000_000, cost: 2, scratchBytes: 64 });
    expect(() => finishJobs(tf.backend())).toThrow(/swiglu\/forward/);
    const y = tf.tidy(() => swiglu(tf.ones([500, 500]), tf.ones([500, 500])));
    expect((await y.data())[249_999]).toBeCloseTo(0.731059, 5);
    y.dispose();
  });

  it('keeps the order of jobs, stock ops, uploads and reads, however far JavaScript is ahead', async () => {
    /**
     * Many more jobs than there is room for, whose inputs are given back, and their memory used again, while they wait.
     */
    const chain = async (reads: boolean): Promise<Float32Array[]> => {
      const random = new Random(8);
      const values = normals(random, 301 * 256);
      const kept: tf.Tensor[] = [];
      let x = matrix(random, 301, 256);
      for (let i = 0; i < 400; i++) {
        const [size, step] = [[64, 256, 301][random.below(3)] as number, random.below(12)];
        const fresh = tf.fill([301, 256], Math.fround(0.5 + random.below(100) / 200)) as tf.Tensor2D;
        const w = tf.tensor2d(values.subarray(0, size * 256), [size, 256]);
        const y = tf.tidy(() => {
          const scaled = tf.tensor2d(new Float32Array(size * 256).fill(0.05), [size, 256]);
          const hidden = matmul(swiglu(x, fresh), step < 2 ? tf.add(w, scaled) : w, 'nt', 0.05);
          const back = matmul(hidden, step < 4 ? scaled : w, 'nn', 0.05);
          return step === 5 ? tf.clipByValue(back, -3, 3) : rmsNorm(back, tf.ones([256]), 1e-5);
        }) as tf.Tensor2D;
        tf.dispose([x, fresh, w]);
        x = y;
        if (reads && step === 6) expect((await x.data()).every(Number.isFinite)).toBe(true);
        if (step === 7) kept.push(tf.sum(x));
      }
      const read = await Promise.all([...kept, x].map((t) => t.data<'float32'>()));
      tf.dispose([...kept, x]);
      return read;
    };
    await expectNoLeak(async () => {
      const alone = await withoutThreadsAsync(() => chain(false));
      expect(await chain(true)).toEqual(alone);
    });
  });

  it('holds back no more memory than it would need at once', async () => {
    const heapBytes = (): number => wasmMemory(tf.backend()).buffer.byteLength;
    const round = (rows: number): void =>
      tf.tidy(() => {
        let x: tf.Tensor2D = tf.ones([rows, 512]);
        for (let i = 0; i < 40; i++) {
          const y: tf.Tensor2D = swiglu(x, x);
          x.dispose();
          x = y;
        }
      });
    // 40 results of 2 MB and more, two of which are there at a time; no two rounds of the same size.
    round(1100);
    finishJobs(tf.backend());
    const before = heapBytes();
    for (let i = 0; i < 50; i++) round(1099 - i);
    finishJobs(tf.backend());
    expect(heapBytes() - before).toBeLessThan(20 * 2 ** 20);
    const [x, y] = [tf.ones<tf.Rank.R2>([300, 300]), tf.ones<tf.Rank.R2>([300, 300])];
    expect((await tf.tidy(() => swiglu(x, y)).data())[89_999]).toBeCloseTo(0.731059, 5);
    tf.dispose([x, y]);
  });

  it('names the kernel that trapped, however many jobs follow it', async () => {
    const [x, bad] = [tf.ones<tf.Rank.R2>([300, 300]), [2 ** 31 + 2 ** 30, 2 ** 31 + 2 ** 30, 2 ** 31 + 2 ** 30, 0]];
    const follow = async (): Promise<void> => {
      for (let i = 0; i < 600; i++) rmsNorm(x, tf.ones([300]), 1e-5).dispose();
      await x.data();
    };
    parallelFor(tf.backend(), wasmSource, 'forward', bad, { count: 1_000_000, cost: 2, scratchBytes: 64 });
    await expect(follow()).rejects.toThrow(/swiglu\/forward/);
    x.dispose();
  });

  it('refuses a kernel that it does not have, and goes on', async () => {
    const x = tf.ones<tf.Rank.R2>([600, 300]);
    expect(() => parallelFor(tf.backend(), wasmSource, 'sideways', [], { count: 1_000_000, cost: 2 })).toThrow(
      /no 'sideways'/,
    );
    expect((await tf.tidy(() => swiglu(x, x)).data())[179_999]).toBeCloseTo(0.731059, 5);
    x.dispose();
  });

  it('counts what tensors take, wherever their memory comes from', async () => {
    const x = tf.ones<tf.Rank.R2>([900, 600]);
    finishJobs(tf.backend());
    const watch = watchMemory();
    const kept: tf.Tensor[] = [];
    for (let i = 0; i < 6; i++) {
      swiglu(x, x).dispose();
      kept.push(swiglu(x, x));
    }
    expect(watch.bytes).toBe(6 * 900 * 600 * 4);
    tf.dispose([x, ...kept]);
    watch.stop();
    await settle();
  });

  it('has its threads once', () => {
    expect(() => startThreads(tf.backend(), 2, () => ({ terminate: () => Promise.resolve() }))).toThrow(/already/);
  });
});

describe('the heap of a backend with threads', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openWasm('asked for by name', nodeHost, { threads: 2 });
  });
  afterAll(() => device.close());

  it('is used beyond 2 GB, and to its end', async () => {
    const ask = (bytes: number): tf.TensorInfo => wasmOutput(tf.backend(), [bytes / 4]);
    const free = (info: tf.TensorInfo): void => void tf.backend().disposeData(info.dataId);
    const product = (): tf.Tensor[] => {
      const random = new Random(9);
      return differentiated(
        () => matmul(matrix(random, 131, 300), matrix(random, 200, 300), 'nt'),
        [matrix(random, 3, 3)],
      ).slice(0, 1);
    };
    const below = await bitsOf(['', product]);
    // All but one piece of 8 MB, which lies above the addresses that are positive as int32.
    const all: tf.TensorInfo[] = [];
    for (const bytes of [2 ** 28, 2 ** 23, 2 ** 18, 2 ** 13, 2 ** 8]) {
      try {
        for (;;) all.push(ask(bytes));
      } catch (error) {
        expect((error as Error).message).toMatch(/the WASM heap is full/);
      }
    }
    const high = all.findIndex(
      ({ shape, dataId }) =>
        shape[0] === 2 ** 21 && wasmOffset(tf.backend(), { shape, dataId, dtype: 'float32' }) > 2 ** 31,
    );
    for (const info of all.splice(high, 1)) free(info);
    expect(await bitsOf(['', product])).toEqual(below);
    // 40 times 2 to 4 MB, each time of another size and given back at once: jobs are waited for where that makes room.
    const x = tf.ones<tf.Rank.R2>([1000, 250]);
    for (let i = 0; i < 40; i++) {
      const w = tf.ones<tf.Rank.R2>([480 - 6 * i, 1000]);
      const y = matmul(w, x, 'nn', 1e-3);
      w.dispose();
      if (i === 39) expect((await y.data()).every((value) => Math.abs(value - 1) < 1e-5)).toBe(true);
      y.dispose();
    }
    x.dispose();
    for (const info of all) free(info);
  });
});

async function withoutThreadsAsync<T>(body: () => Promise<T>): Promise<T> {
  // Every kernel of a case runs before its first await.
  return withoutThreads(tf.backend(), body);
}
