import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { runConfigSchema, type RunConfigInput } from '../../src/config/schema.js';
import { nodeHost } from '../../src/device/node.js';
import { openDevice } from '../../src/device/open.js';
import { finetune, finetuneOn } from '../../src/finetune/finetune.js';
import type { FinetuneRequest } from '../../src/finetune/request.js';
import { SharedResources } from '../../src/finetune/shared-resources.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { countingRows, tinyModelFiles } from '../support/tiny-model.js';

const model = memoryDirectory('tiny', tinyModelFiles());

function request(adapter: RunConfigInput['adapter'], rest: Partial<RunConfigInput> = {}): FinetuneRequest {
  const training = { output_dir: 'out', max_steps: 2, per_device_train_batch_size: 4, learning_rate: 0.01 };
  const config = runConfigSchema.parse({
    model: 'tiny',
    device: 'wasm',
    adapter,
    data: { train: 'rows', max_length: 16 },
    training,
    ...rest,
  });
  return { config, model, data: { train: [{ name: 'rows', rows: countingRows(12, 1) }] }, host: nodeHost };
}

const weights = async (run: ReturnType<typeof finetune>): Promise<Uint8Array> =>
  (await run).files['adapter_model.safetensors'] as Uint8Array;

it('runs that share a device, a base and data have the numbers of each by itself, and leave nothing behind', async () => {
  // One changes the base's own values while it trains, one takes them apart: the next finds them as they were.
  const kinds = [
    request({ r: 4 }),
    request({ method: 'layers' }),
    request({ r: 2, init_lora_weights: 'pissa' }),
    request({ r: 4 }, { quantization: { load_in_4bit: true } }),
    request({ r: 4 }),
  ];
  const alone: Uint8Array[] = [];
  for (const kind of kinds) alone.push(await weights(finetune(kind)));
  const device = await openDevice('wasm', nodeHost);
  const before = tf.memory().numTensors;
  const shared = new SharedResources(device);
  for (const [i, kind] of kinds.entries())
    expect(await weights(finetuneOn(shared, kind)), `run ${i}`).toEqual(alone[i]);
  shared.dispose();
  expect(tf.memory().numTensors).toBe(before);
  await device.close();
});

it('a base is loaded once for all runs that have the same one', async () => {
  const device = await openDevice('wasm', nodeHost);
  const shared = new SharedResources(device);
  let loads = 0;
  const counted = (given: FinetuneRequest): FinetuneRequest => ({
    ...given,
    callbacks: { onLoad: (done) => void (done === 1 && loads++) },
  });
  for (const r of [1, 2, 4]) await finetuneOn(shared, counted(request({ r })));
  expect(loads).toBe(1);
  await finetuneOn(shared, counted(request({ r: 1 }, { quantization: { load_in_4bit: true } })));
  expect(loads).toBe(2);
  shared.dispose();
  await device.close();
});
