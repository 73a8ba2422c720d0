import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { beforeAll, describe, expect, it } from 'vitest';
import { memoryDirectory } from '../../src/io/directory.js';
import { finiteValues, firstNotFinite } from '../../src/io/finite.js';
import { encodeSafetensors, SafetensorsFile } from '../../src/io/safetensors.js';
import { encodeEvent } from '../../src/io/tensorboard.js';
import { loadModel } from '../../src/model/load.js';
import { tinyModelFiles } from '../support/tiny-model.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe('values that are not finite', () => {
  it.each([NaN, Infinity, -Infinity])('%d is found at any place', (bad) => {
    for (const [length, at] of [
      [1, 0],
      [4096, 4095],
      [4097, 4096],
      [10000, 5000],
    ] as const) {
      const values = new Float32Array(length).fill(3e38);
      expect(firstNotFinite(values)).toBe(-1);
      values[at] = bad;
      values[length - 1] = bad;
      expect(firstNotFinite(values)).toBe(at);
    }
    expect(firstNotFinite(new Float32Array())).toBe(-1);
    expect(() => finiteValues(Float32Array.of(1, bad), 'm/w.safetensors: x')).toThrow(
      `m/w.safetensors: x: element 1 is ${bad}, allowed finite numbers`,
    );
  });

  it('in a weight of the base are refused with file and tensor', async () => {
    const files = tinyModelFiles();
    const source = await memoryDirectory('tiny', files).open('model.safetensors');
    if (source === undefined) throw new Error('no weights');
    const file = await SafetensorsFile.open(source);
    for (const name of ['model.layers.1.self_attn.k_proj.weight', 'model.norm.weight', 'lm_head.weight']) {
      const tensors = new Map(
        await Promise.all([...file.tensors.keys()].map(async (key) => [key, await file.read(key)] as const)),
      );
      const broken = tensors.get(name);
      if (broken === undefined) throw new Error(name);
      const bytes = broken.bytes.slice();
      new DataView(bytes.buffer).setUint32(4 * 5, 0x7fc00000, true);
      tensors.set(name, { ...broken, bytes });
      const model = memoryDirectory('tiny', {
        ...files,
        'model.safetensors': encodeSafetensors(tensors, { format: 'pt' }),
      });
      for (const quantization of [undefined, { quantType: 'nf4' } as const]) {
        await expect(loadModel(model, { quantization }), name).rejects.toThrow(
          `tiny/model.safetensors: ${name}: element 5 is NaN, allowed finite numbers`,
        );
      }
    }
  });

  it('as a perplexity beyond float32 do not end the log of a run', () => {
    const bits = (value: number): Uint8Array => encodeEvent({ wallTime: 0, scalars: { 'eval/perplexity': value } });
    expect(bits(1e300)).toEqual(bits(Infinity));
    expect(bits(-1e300)).toEqual(bits(-Infinity));
  });
});
