import * as tf from '@tensorflow/tfjs-core';
import { expect, it, describe } from 'vitest';
import { gpuBackend } from '../../kernels/tfjs/webgpu.js';
import { runConfigSchema, type RunConfig, type RunConfigInput } from '../../src/config/schema.js';
import { nodeHost } from '../../src/device/node.js';
import { finetune } from '../../src/finetune/finetune.js';
import type { FinetuneCallbacks, FinetuneResult } from '../../src/finetune/request.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { memorySource } from '../../src/io/source.js';
import { openSession } from '../../src/session.js';
import { describeBackends } from '../support/backends.js';
import { countingRows, tinyModelFiles, toJsonl } from '../support/tiny-model.js';

const model = memoryDirectory('tiny', { ...tinyModelFiles(), 'tokenizer_config.json': '{"kept": "as it is"}' });
const rows = (count: number, seed: number): { name: string; rows: unknown[] }[] => [
  { name: 'rows', rows: countingRows(count, seed) },
];

function configOf(training: Partial<RunConfigInput['training']>, rest: Partial<RunConfigInput> = {}): RunConfig {
  return runConfigSchema.parse({
    model: 'org/tiny@v1.2',
    device: 'wasm',
    adapter: { r: 4 },
    data: { train: 'train.jsonl' },
    ...rest,
    training: { output_dir: 'out', per_device_train_batch_size: 4, learning_rate: 0.01, logging_steps: 2, ...training },
  });
}

function run(config: RunConfig, callbacks: FinetuneCallbacks = {}): Promise<FinetuneResult> {
  return finetune({ config, model, data: { train: rows(16, 1), validation: rows(8, 2) }, host: nodeHost, callbacks });
}

describe('finetune', () => {
  it('tells what goes on, in order, and gives the files without any file system', async () => {
    const told: string[] = [];
    const tell = (what: string) => (): void => void (told.at(-1) === what || told.push(what));
    const { training, files, test, counts } = await run(configOf({ max_steps: 4, eval_steps: 2 }), {
      onDevice: tell('device'),
      onModel: tell('model'),
      onData: tell('data'),
      onLoad: tell('load'),
      onReady: tell('ready'),
      onStep: tell('step'),
      onEvaluate: tell('evaluate'),
      onNote: tell('note'),
    });
    expect(told).toEqual(['device', 'model', 'note', 'data', 'load', 'ready', 'step', 'evaluate', 'step', 'evaluate']);
    expect(training).toMatchObject({ steps: 4, totalSteps: 4, stoppedEarly: false });
    expect(test).toBeUndefined();
    expect(Object.keys(files).sort()).toEqual([
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
      'config.yaml',
      'tokenizer_config.json',
      'training_record.json',
    ]);
    expect(new TextDecoder().decode(files['tokenizer_config.json'] as Uint8Array)).toBe('{"kept": "as it is"}');
    expect(JSON.parse(files['adapter_config.json'] as string)).toMatchObject({
      base_model_name_or_path: 'org/tiny',
      revision: 'v1.2',
    });
    expect(counts.trainable).toBeGreaterThan(0);

    const session = await openSession({
      model,
      adapter: memoryDirectory('trained', files),
      device: 'wasm',
      host: nodeHost,
    });
    expect(session.adapters.adapter?.parameters.reduce((sum, { variable }) => sum + variable.size, 0)).toBe(
      counts.trainable,
    );
    await session.dispose();
  });

  it('records rows that were split off for validation, which have no file of their own', async () => {
    const config = configOf({ max_steps: 2 });
    const split = { ...config, data: { ...config.data, validation_split: 0.25 } };
    const { files, training } = await finetune({ config: split, model, data: { train: rows(16, 1) }, host: nodeHost });
    expect(training.best).toBeDefined();
    const record = JSON.parse(files['training_record.json'] as string) as { data: { part: string; files: object }[] };
    expect(record.data.map(({ part, files: of }) => [part, Object.keys(of).length])).toEqual([
      ['train', 1],
      ['validation', 0],
    ]);
  });

  it('gives the same adapter for the same seed, to the byte, and another for another', async () => {
    const weights = async (seed: number): Promise<Buffer> =>
      Buffer.from((await run(configOf({ max_steps: 3, seed }))).files['adapter_model.safetensors'] as Uint8Array);
    const [first, again, other] = [await weights(7), await weights(7), await weights(8)];
    expect(first.equals(again)).toBe(true);
    expect(first.equals(other)).toBe(false);
  });

  it('leaves nothing on the device, even when the run fails', async () => {
    await tf.setBackend('wasm');
    const before = tf.memory().numTensors;
    await run(configOf({ max_steps: 2 }));
    expect(tf.memory().numTensors).toBe(before);
    const stop = (): void => {
      throw new Error('enough');
    };
    await expect(run(configOf({ max_steps: 2 }), { onReady: stop })).rejects.toThrow('enough');
    expect(tf.memory().numTensors).toBe(before);
    await expect(run(configOf({ max_steps: 2 }, { adapter: { target_modules: 'nothing' } }))).rejects.toThrow(
      'target_modules',
    );
    expect(tf.memory().numTensors).toBe(before);
  });

  it('stops when it is asked to, with the steps so far', async () => {
    let steps = 0;
    const { training } = await run(configOf({ max_steps: 50 }), {
      onStep: () => steps++,
      shouldStop: () => steps >= 3,
    });
    expect(training.steps).toBe(3);
  });

  it('reads data in any form', async () => {
    const source = memorySource('train.jsonl', new TextEncoder().encode(toJsonl(countingRows(8, 5))));
    const { training } = await finetune({
      config: configOf({ max_steps: 1 }),
      model,
      data: { train: [source], test: rows(4, 6) },
      host: nodeHost,
    });
    expect(training.steps).toBe(1);
  });
});

describeBackends('finetune', ['webgpu'], () => {
  it('ends with an error when the device is lost under it', async () => {
    const lose = (): void => {
      gpuBackend().device.destroy();
    };
    await expect(
      run(configOf({ max_steps: 20, logging_steps: 1 }, { device: 'webgpu' }), { onReady: lose }),
    ).rejects.toThrow(/the GPU device was lost|WebGPU/);
  });
});

describe('finetune with a plain object', () => {
  const plain = {
    model: 'org/tiny',
    device: 'wasm',
    adapter: { r: 4 },
    training: { output_dir: 'out', max_steps: 4, eval_steps: 2, learning_rate: 0.01 },
  } as const;

  it('fills in the defaults, and names the rows that are handed over', async () => {
    const { config, stopped, training } = await finetune({
      config: plain,
      model,
      data: { train: rows(8, 1), validation: rows(4, 2) },
      host: nodeHost,
    });
    expect(config).toMatchObject({
      data: { train: ['rows'], validation: ['rows'], max_length: 512 },
      training: { seed: 42 },
    });
    expect([stopped, training.steps]).toEqual([false, 4]);
  });

  it('says what is wrong with it as with a file', async () => {
    const wrong = { ...plain, training: { ...plain.training, learning_rte: 1, seed: -1 } } as RunConfigInput;
    await expect(finetune({ config: wrong, model, data: { train: rows(8, 1) }, host: nodeHost })).rejects.toThrow(
      /problems in the config\n.*training.seed must be an integer ≥ 0, not -1[^]*learning_rte unknown key: did you mean/,
    );
  });

  it('ends after a micro-batch when its signal is aborted, and hands out a checkpoint', async () => {
    const stop = new AbortController();
    const checkpoints: number[] = [];
    const callbacks: FinetuneCallbacks = {
      onStep: ({ step }) => void (step === 2 && stop.abort()),
      onCheckpoint: (_files, { step }) => void checkpoints.push(step),
    };
    const { stopped, training, files } = await finetune({
      config: { ...plain, training: { ...plain.training, max_steps: 50 } },
      model,
      data: { train: rows(8, 1), validation: rows(4, 2) },
      host: nodeHost,
      callbacks,
      signal: stop.signal,
    });
    expect([stopped, training.steps, checkpoints.at(-1)]).toEqual([true, 2, 2]);
    expect(files['training_record.json']).toBeUndefined();
  });
});
