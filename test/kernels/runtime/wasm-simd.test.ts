import * as tf from '@tensorflow/tfjs-core';
import { setFlagsFromString } from 'node:v8';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  attention,
  dequantize,
  disposeWeight,
  linear,
  matmul,
  uploadQuantized,
  valueAndGradients,
  withKernelMode,
  type MatmulForm,
} from '../../../kernels/index.js';
import { wasmSource } from '../../../kernels/matmul/wasm/wasm.generated.js';
import { withoutThreads } from '../../../kernels/runtime/threads/threads.js';
import { wasmBinary, wasmSimd, type WasmSimd } from '../../../kernels/runtime/wasm/module.js';
import type { Device } from '../../../src/device/device.js';
import { nodeHost } from '../../../src/device/node.js';
import { openWasm } from '../../../src/device/wasm.js';
import { quantize4bit } from '../../../src/quant/quantize.js';
import { Random } from '../../../src/random.js';
import { expectClose, normals } from '../../support/numeric.js';

// Sums of up to 400 products in another order and with fewer roundings than the reference's.
const TOLERANCE = 2e-5;

// V8 would run a few calls in code that its first compiler made: what its optimizing one makes is what computes all
// day.
setFlagsFromString('--no-liftoff');

/** What relaxed SIMD yields, by test. */
const relaxedBits = new Map<string, Uint32Array[]>();

// What is compiled for 256 bits computes the same where an engine leaves it at 128, if slowly: it is tested on all of
// them.
describe.each<WasmSimd>(['plain', 'relaxed', 'wide'])("kernels with '%s' SIMD", (simd) => {
  let device: Device;
  let count = 0;
  beforeAll(async () => {
    device = await openWasm(
      'asked for by name',
      { ...nodeHost, wasmSimd: () => (nodeHost.wasmSimd?.(), simd) },
      { threads: 2 },
    );
  });
  afterAll(async () => {
    await device.close();
    // A backend keeps the binaries that it began with: the next one begins anew.
    const factory = tf.findBackendFactory('wasm');
    tf.removeBackend('wasm');
    tf.registerBackend('wasm', factory, 2);
  });

  it('run the binary that goes with it', () => {
    expect(wasmSimd(tf.backend())).toBe(simd);
    const { base64, relaxed, wide } = wasmSource;
    const other = (text: string): Uint8Array => wasmBinary(tf.backend(), { name: wasmSource.name, base64: text });
    const same = { plain: base64, relaxed, wide };
    for (const [name, text] of Object.entries(same))
      expect(Buffer.compare(wasmBinary(tf.backend(), wasmSource), other(text)) === 0, name).toBe(name === simd);
  });

  /** Every output with the own kernels on two threads and on one, and with stock ops. */
  async function check(run: () => tf.Tensor[]): Promise<void> {
    const read = async (body: () => tf.Tensor[]): Promise<Float32Array[]> => {
      const tensors = tf.tidy(body);
      const values = await Promise.all(tensors.map((t) => t.data<'float32'>()));
      tf.dispose(tensors);
      return values;
    };
    const expected = await read(() => withKernelMode('reference', run));
    const together = await read(run);
    const alone = await read(() => withoutThreads(tf.backend(), run));
    expected.forEach((values, i) => {
      expectClose(together[i] as Float32Array, values, TOLERANCE, `output ${i}`);
      expect(together[i]).toEqual(alone[i]);
    });
    const bits = together.map((values) => new Uint32Array(values.buffer, values.byteOffset, values.length));
    const name = `${expect.getState().currentTestName?.replace(`'${simd}'`, '') ?? ''} ${count++}`;
    if (simd === 'relaxed') relaxedBits.set(name, bits);
    if (simd === 'wide')
      bits.forEach((values, i) =>
        expect(
          Buffer.compare(Buffer.from(values.buffer), Buffer.from((relaxedBits.get(name)?.[i] as Uint32Array).buffer)),
          `output ${i}, bits`,
        ).toBe(0),
      );
  }

  it.each<MatmulForm>(['nt', 'nn', 'tn'])(
    "'%s' equals stock ops, bit for bit on any number of threads",
    async (form) => {
      const random = new Random(3);
      const matrix = (rows: number, cols: number): tf.Tensor2D =>
        tf.tensor2d(normals(random, rows * cols), [rows, cols]);
      for (const [n, k, m] of [
        [1, 130, 65],
        [3, 301, 300],
        [197, 400, 311],
        [500, 8, 301],
        [8, 400, 301],
      ] as const) {
        const [x, w] = [form === 'tn' ? matrix(k, n) : matrix(n, k), form === 'nt' ? matrix(m, k) : matrix(k, m)];
        await check(() => [matmul(x, w, form, 0.5)]);
        tf.dispose([x, w]);
      }
    },
  );

  it('and so does a 4-bit layer with LoRA, whose weight still decodes to the same bits', async () => {
    const random = new Random(4);
    const weight = uploadQuantized(
      quantize4bit(normals(random, 187 * 251), [187, 251], { quantType: 'nf4', doubleQuant: true, dtype: 'BF16' }),
    );
    const [x, a, b] = (
      [
        [131, 251],
        [8, 251],
        [187, 8],
      ] as const
    ).map(([rows, cols]) => tf.tensor2d(normals(random, rows * cols, 0.1), [rows, cols])) as [
      tf.Tensor2D,
      tf.Tensor2D,
      tf.Tensor2D,
    ];
    const y = (): tf.Tensor2D => linear(x, weight, { lora: { a, b, scale: 2 } });
    await check(() => [y(), ...valueAndGradients(() => tf.mean(tf.square(y())), [x, a, b]).gradients]);
    const [own, stock] = await Promise.all(
      (['auto', 'reference'] as const).map((mode) => withKernelMode(mode, () => dequantize(weight)).data<'float32'>()),
    );
    expect(own).toEqual(stock);
    disposeWeight(weight);
    tf.dispose([x, a, b]);
  });

  it('and attention, forward and backward', async () => {
    const random = new Random(5);
    const sizes = { batch: 2, queryLength: 70, keyLength: 70, numHeads: 4, numKvHeads: 2, headDim: 24 };
    const [q, k, v] = ([4, 2, 2] as const).map((heads) =>
      tf.tensor2d(normals(random, 140 * heads * 24), [140, heads * 24]),
    ) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
    const y = (): tf.Tensor => attention(q, k, v, sizes);
    await check(() => [y(), ...valueAndGradients(() => tf.mean(tf.square(y())), [q, k, v]).gradients]);
    tf.dispose([q, k, v]);
  });
});
