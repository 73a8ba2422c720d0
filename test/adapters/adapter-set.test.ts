import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { readPeftAdapter } from '../../src/adapters/peft/document.js';
import { adapterFiles } from '../../src/adapters/peft/files.js';
import { METHODS } from '../../src/adapters/registry.js';
import { AdapterSet } from '../../src/adapters/adapter-set.js';
import { divergence } from '../../src/eval/divergence.js';
import { loraFusion } from '../../src/export/weight-merge.js';
import { mergeInto } from '../support/merge-decoder.js';
import { memoryDirectory, type Directory } from '../../src/io/directory.js';
import type { Decoder } from '../../src/model/decoder.js';
import { loadModel } from '../../src/model/load.js';
import { Random } from '../../src/random.js';
import { describeBackends } from '../support/backends.js';
import { normals } from '../support/numeric.js';
import { tinyModelFiles } from '../support/tiny-model.js';

const MODEL = memoryDirectory('tiny', tinyModelFiles());
const IDS = [1, 4, 9, 16, 25, 3];

async function logits(decoder: Decoder): Promise<number[]> {
  const out = tf.tidy(() =>
    decoder.logits(decoder.hidden({ ids: tf.tensor1d(IDS, 'int32'), batch: 1, length: IDS.length })),
  );
  const values = Array.from(await out.data());
  out.dispose();
  return values;
}

/** An adapter that changes the model: B drawn at random. */
async function randomAdapter(seed: number, r: number): Promise<Directory> {
  const decoder = await loadModel(MODEL);
  const adapter = METHODS.lora.create(
    decoder,
    {
      r,
      lora_alpha: 2 * r,
      lora_dropout: 0,
      target_modules: ['q_proj', 'down_proj'],
      use_rslora: false,
      init_lora_weights: true,
    },
    seed,
  );
  const random = new Random(seed, 'b');
  for (const { key, variable } of adapter.parameters) {
    if (!key.includes('lora_B')) continue;
    const values = tf.tensor(normals(random, variable.size, 0.3), variable.shape);
    variable.assign(values);
    values.dispose();
  }
  const files = await adapterFiles(adapter);
  adapter.dispose();
  decoder.dispose();
  return memoryDirectory(`adapter-${seed}`, files);
}

function worst(a: readonly number[], b: readonly number[]): number {
  return Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));
}

describeBackends('several adapters', ['wasm', 'webgpu'], () => {
  it('are switched without a trace of each other', async () => {
    const decoder = await loadModel(MODEL);
    const base = await logits(decoder);
    const set = new AdapterSet(decoder);
    await set.add('one', await randomAdapter(1, 2));
    await set.add('two', await randomAdapter(2, 4));
    expect(await logits(decoder)).toEqual(base);
    set.use('one');
    const one = await logits(decoder);
    expect(worst(one, base)).toBeGreaterThan(0.05);
    // Added while another is in force, which stays.
    await set.add('three', await randomAdapter(3, 1));
    expect(set.active).toBe('one');
    expect(await logits(decoder)).toEqual(one);
    const tensors = tf.memory().numTensors;
    set.use('two');
    const two = await logits(decoder);
    expect(worst(two, one)).toBeGreaterThan(0.05);
    set.use(undefined);
    expect(await logits(decoder)).toEqual(base);
    set.use('one');
    expect(await logits(decoder)).toEqual(one);
    expect(tf.memory().numTensors).toBe(tensors);
    expect(() => set.use('four')).toThrow('there is no adapter called four; there are one, two, three');
    await expect(set.add('one', await randomAdapter(1, 2))).rejects.toThrow('already an adapter called one');
    set.remove('one');
    expect(set.names).toEqual(['two', 'three']);
    expect(await logits(decoder)).toEqual(base);
    set.dispose();
    decoder.dispose();
  });
});

describeBackends('merging on the device', ['wasm', 'webgpu'], () => {
  it('gives the adapter’s numbers, and the base’s again afterwards', async () => {
    const directory = await randomAdapter(1, 2);
    const decoder = await loadModel(MODEL);
    const base = await logits(decoder);
    const set = new AdapterSet(decoder);
    await set.add('one', directory);
    set.use('one');
    const adapted = await logits(decoder);
    set.dispose();
    const before = tf.memory().numTensors;
    const merged = await mergeInto(decoder, loraFusion(await readPeftAdapter(directory)));
    expect(merged.modules).toHaveLength(4);
    expect(worst(await logits(decoder), adapted)).toBeLessThan(1e-4);
    merged.unmerge();
    expect(await logits(decoder)).toEqual(base);
    expect(tf.memory().numTensors).toBe(before);
    decoder.dispose();
  });

  it('goes to floats on a 4-bit base, or tells what quantising again changed', async () => {
    const directory = await randomAdapter(1, 2);
    const decoder = await loadModel(MODEL, { quantization: { quantType: 'nf4', blockSize: 64 } });
    const fusion = loraFusion(await readPeftAdapter(directory));
    const set = new AdapterSet(decoder);
    await set.add('one', directory);
    set.use('one');
    const adapted = await logits(decoder);
    const exact = await divergence(decoder, [IDS], async () => {
      set.use(undefined);
      await mergeInto(decoder, fusion);
    });
    expect(worst(await logits(decoder), adapted)).toBeLessThan(1e-4);
    expect(exact.meanKl).toBeLessThan(1e-6);
    decoder.dispose();

    const other = await loadModel(MODEL, { quantization: { quantType: 'nf4', blockSize: 64 } });
    const adapters = new AdapterSet(other);
    await adapters.add('one', directory);
    adapters.use('one');
    const again = await divergence(other, [IDS], async () => {
      adapters.use(undefined);
      await mergeInto(other, fusion, { requantize: true });
    });
    expect(again.meanKl).toBeGreaterThan(100 * exact.meanKl);
    expect(again.positions).toBe(IDS.length);
    adapters.dispose();
    other.dispose();
  });
});
