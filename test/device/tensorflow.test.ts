import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  dequantize,
  disposeWeight,
  handWrittenOps,
  linear,
  quantizedMatmul,
  uploadQuantized,
  valueAndGradients,
  withKernelMode,
  type LinearOptions,
  type QuantizedWeight,
} from '../../kernels/index.js';
import { METHODS } from '../../src/adapters/registry.js';
import type { Device, Host } from '../../src/device/device.js';
import { openDevice } from '../../src/device/open.js';
import { DeviceError } from '../../src/errors.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { loadModel } from '../../src/model/load.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { lossAndGradients } from '../../src/train/step.js';
import { describeGolden, type GoldenCase } from '../support/golden-suite.js';
import { expectClose, normals } from '../support/numeric.js';
import { tensorflowHost } from '../support/tensorflow.js';
import { countingRows, tinyModelFiles } from '../support/tiny-model.js';

/* TensorFlow's own library under tfjs: the devices `node` and, over a CUDA library, `node-gpu`. */

const found = await tensorflowHost();

function describeTensorflow(title: string, body: () => void): void {
  if (found.missing !== undefined) {
    describe.skip(`${title} on tensorflow (${found.missing})`, body);
    return;
  }
  const { host } = found;
  describe(`${title} on tensorflow`, () => {
    let device: Device | undefined;
    beforeAll(async () => {
      device = await openDevice('node', host);
    });
    afterAll(async () => device?.close());
    body();
  });
}

const GOLDENS: readonly GoldenCase[] = [
  { architecture: 'llama3_tied', variant: 'lora' },
  { architecture: 'qwen3', variant: 'lora' },
  { architecture: 'llama_qlora', model: 'llama_qlora/hf4bit', variant: 'lora' },
];
for (const golden of GOLDENS) describeGolden(golden, describeTensorflow);

describeTensorflow('the device', () => {
  it('is TensorFlow, asked for by name', async () => {
    if (found.missing !== undefined) return;
    const device = await openDevice('node', found.host);
    expect(device).toMatchObject({ name: 'node', backend: 'tensorflow', reason: 'asked for by name', software: false });
    expect(tf.getBackend()).toBe('tensorflow');
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const product = tf.matMul(x, x);
    expect([...(await device.guard(product.data()))]).toEqual([7, 10, 15, 22]);
    tf.dispose([x, product]);
  });

  it('is what auto takes where there is no GPU and WASM does not open', async () => {
    if (found.missing !== undefined) return;
    const wasmSimd = (): never => {
      throw new DeviceError('no WASM in this test');
    };
    const host = onlyNode({ ...found.host, noGpu: () => 'none in this test', wasmSimd });
    const device = await openDevice('auto', host);
    expect(device).toMatchObject({ name: 'node', backend: 'tensorflow' });
    expect(device.reason).toBe('no WebGPU (none in this test); node-gpu is not installed; no WASM in this test');
  });
});

/** As where only @tensorflow/tfjs-node is installed. */
function onlyNode(host: Host): Host {
  return {
    ...host,
    tensorflow: async (name) =>
      name === 'node' ? host.tensorflow?.(name) : Promise.reject(new Error(`${name} is not installed`)),
  };
}

/** Tensors of the engine, and values that the backend holds for them: tf.memory()'s bytes are unreliable there. */
function held(): { tensors: number; values: number } {
  return {
    tensors: tf.memory().numTensors,
    values: tf.backend().numDataIds(),
  };
}

describeTensorflow('4-bit weights', () => {
  const random = new Random(11);
  /** A weight whose blocks cross rows, with a shorter last block. */
  const weightOf = (out: number, inner: number, doubleQuant: boolean, dtype: 'F32' | 'F16' | 'BF16'): QuantizedWeight =>
    uploadQuantized(
      quantize4bit(normals(random, out * inner), [out, inner], { quantType: 'nf4', blockSize: 64, doubleQuant, dtype }),
    );

  it('have kernels of their own', () => {
    expect(handWrittenOps('tensorflow')).toEqual(
      expect.arrayContaining(['LowrankDequantize', 'LowrankQuantizedMatmul', 'LowrankLinear', 'LowrankLinearGrad']),
    );
  });

  for (const doubleQuant of [false, true]) {
    for (const dtype of ['F32', 'F16', 'BF16'] as const) {
      it(`are decoded as the stock ops decode them, ${doubleQuant ? 'nested' : 'plain'} scales, ${dtype}`, async () => {
        for (const [out, inner] of [
          [37, 101],
          [1, 5],
          [64, 128],
        ] as const) {
          const weight = weightOf(out, inner, doubleQuant, dtype);
          const own = dequantize(weight);
          // Decoding another weight must leave the first one's values alone.
          const other = weightOf(out, inner, doubleQuant, dtype);
          dequantize(other).dispose();
          const expected = withKernelMode('reference', () => dequantize(weight));
          expect([...(await own.data())]).toEqual([...(await expected.data())]);
          // Once the stock ops have had the packed values, TensorFlow holds them.
          const again = dequantize(weight);
          expect([...(await again.data())]).toEqual([...(await expected.data())]);
          tf.dispose([own, expected, again]);
          disposeWeight(weight);
          disposeWeight(other);
        }
      });
    }
  }

  it('give the reference’s products, gradients and low-rank updates, one after another', async () => {
    const weights = [weightOf(65, 43, true, 'F32'), weightOf(96, 64, false, 'BF16'), weightOf(33, 300, true, 'F16')];
    for (const weight of weights) {
      const [out, inner] = weight.shape;
      const x = tf.tensor2d(normals(random, 7 * inner), [7, inner]);
      const g = tf.tensor2d(normals(random, 7 * out), [7, out]);
      const lora = {
        a: tf.tensor2d(normals(random, 3 * inner), [3, inner]),
        b: tf.tensor2d(normals(random, out * 3), [out, 3]),
        scale: 0.7,
      };
      const options: LinearOptions = { lora, bias: tf.tensor1d(normals(random, out)) };
      const run = (): tf.Tensor[] => {
        const plain = tf.tidy(() => [
          quantizedMatmul(x, weight),
          quantizedMatmul(g, weight, true),
          linear(x, weight, options),
        ]);
        const { value, gradients } = valueAndGradients(
          () => tf.sum(tf.mul(linear(x, weight, options), g)),
          [x, lora.a, lora.b],
        );
        return [...plain, value, ...gradients];
      };
      const own = run();
      const expected = withKernelMode('reference', run);
      for (const [i, tensor] of own.entries())
        expectClose(
          await tensor.data(),
          await (expected[i] as tf.Tensor).data(),
          1e-5,
          `value ${i} of [${out}, ${inner}]`,
        );
      tf.dispose([x, g, lora.a, lora.b, options.bias as tf.Tensor, own, expected]);
      disposeWeight(weight);
    }
  });

  it('leave nothing behind', () => {
    const weight = weightOf(65, 43, true, 'F32');
    const x = tf.ones<tf.Rank.R2>([3, 43]);
    const before = held();
    for (let i = 0; i < 3; i++) {
      tf.dispose([dequantize(weight), quantizedMatmul(x, weight), linear(x, weight)]);
      const { value, gradients } = valueAndGradients(() => tf.sum(linear(x, weight)), [x]);
      tf.dispose([value, gradients]);
      expect(held()).toEqual(before);
    }
    x.dispose();
    disposeWeight(weight);
  });
});

describeTensorflow('a training step', () => {
  for (const quantized of [false, true]) {
    it(`leaves nothing behind, ${quantized ? '4-bit' : 'float'} weights`, async () => {
      const atStart = held();
      const decoder = await loadModel(memoryDirectory('tiny', tinyModelFiles()), {
        quantization: quantized ? { quantType: 'nf4' } : undefined,
      });
      const adapter = METHODS.lora.create(
        decoder,
        {
          r: 4,
          lora_alpha: 8,
          lora_dropout: 0.1,
          target_modules: 'all-linear',
          use_rslora: false,
          init_lora_weights: true,
        },
        3,
      );
      const ids = Int32Array.from((countingRows(1, 5, 24)[0] as { input_ids: number[] }).input_ids);
      const batch = { inputIds: ids, labels: ids, batch: 1, seq: ids.length, supervisedCount: ids.length - 1 };
      const step = (): void => {
        const { loss, gradients } = lossAndGradients(
          decoder,
          adapter.parameters.map((p) => p.variable),
          [batch],
        );
        tf.dispose([loss, gradients]);
      };
      step();
      const before = held();
      for (let i = 0; i < 3; i++) step();
      expect(held()).toEqual(before);
      adapter.dispose();
      decoder.dispose();
      expect(held()).toEqual(atStart);
    });
  }
});
