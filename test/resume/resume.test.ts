import { describe, expect, it } from 'vitest';
import { runConfigSchema, type RunConfig, type RunConfigInput } from '../../src/config/schema.js';
import { nodeHost } from '../../src/device/node.js';
import { finetune } from '../../src/finetune/finetune.js';
import type { FinetuneCallbacks, FinetuneRequest, FinetuneResult } from '../../src/finetune/request.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { memorySource } from '../../src/io/source.js';
import type { CheckpointInfo } from '../../src/resume/checkpoint.js';
import { MANIFEST_FILE, manifestProblem } from '../../src/resume/manifest.js';
import { describeBackends } from '../support/backends.js';
import { countingRows, tinyModelFiles, toJsonl } from '../support/tiny-model.js';

type Files = Readonly<Record<string, Uint8Array | string>>;

interface Ran {
  readonly result: FinetuneResult;
  readonly checkpoints: Map<number, Files>;
  readonly infos: CheckpointInfo[];
  /** Lines of the log and validations, without timings and what tfjs counts over all runs of a process. */
  readonly log: Record<string, unknown>[];
}

const model = memoryDirectory('tiny', tinyModelFiles());
const rows = (count: number, seed: number, length?: number): { name: string; rows: unknown[] } => ({
  name: `rows ${seed}`,
  rows: countingRows(count, seed, length),
});

/** Dropout, accumulation with a smaller last group, several epochs, validation: all that has a state. */
const BASE = {
  model: 'tiny',
  adapter: { r: 4, lora_dropout: 0.2 },
  data: { train: 'train.jsonl', validation: 'validation.jsonl' },
  training: {
    output_dir: 'out',
    ...{
      num_train_epochs: 3,
      per_device_train_batch_size: 3,
      gradient_accumulation_steps: 2,
      learning_rate: 0.02,
      warmup_steps: 2,
    },
    ...{ logging_steps: 2, eval_steps: 3, early_stopping_patience: 3, save_strategy: 'steps', save_steps: 1 },
  },
} as const;

interface Changes {
  readonly adapter?: Partial<RunConfigInput['adapter']>;
  readonly data?: { readonly [K in keyof RunConfigInput['data']]?: RunConfigInput['data'][K] | undefined };
  readonly training?: { readonly [K in keyof RunConfigInput['training']]?: RunConfigInput['training'][K] | undefined };
  readonly quantization?: RunConfigInput['quantization'];
}

function configOf(device: string, { adapter, data, training, quantization }: Changes = {}): RunConfig {
  const merged = {
    ...BASE,
    device,
    adapter: adapter ?? BASE.adapter,
    data: { ...BASE.data, ...data },
    training: { ...BASE.training, ...training },
  };
  // As options that are not there.
  return runConfigSchema.parse(JSON.parse(JSON.stringify({ ...merged, quantization })));
}

async function run(
  config: RunConfig,
  request: Partial<FinetuneRequest> = {},
  callbacks: FinetuneCallbacks = {},
): Promise<Ran> {
  const checkpoints = new Map<number, Files>();
  const infos: CheckpointInfo[] = [];
  const log: Record<string, unknown>[] = [];
  const result = await finetune({
    config,
    model,
    data: { train: [rows(20, 1)], validation: [rows(8, 2)] },
    host: nodeHost,
    ...request,
    callbacks: {
      onLog: ({ tokens_per_second: _, memory_bytes: _bytes, ...metrics }) => void log.push(metrics),
      onEvaluate: (metrics) => void log.push({ ...metrics }),
      onCheckpoint: (files, info) => {
        checkpoints.set(info.step, files);
        infos.push(info);
      },
      ...callbacks,
    },
  });
  return { result, checkpoints, infos, log };
}

function expectSameEnd(resumed: Ran, whole: Ran, from: number): void {
  expectSameFiles(resumed.result.files, whole.result.files, Object.keys(whole.result.files));
  const { seconds: _, ...training } = whole.result.training;
  expect(resumed.result.training).toMatchObject(training);
  expect(resumed.log).toEqual(whole.log.filter(({ step }) => (step as number) > from));
  for (const [step, files] of resumed.checkpoints)
    expectSameFiles(files, whole.checkpoints.get(step) as Files, [
      'adapter_model.safetensors',
      'optimizer.safetensors',
      'best_adapter.safetensors',
    ]);
}

function expectSameFiles(found: Files, expected: Files, names: readonly string[]): void {
  const bytes = (content: Uint8Array | string | undefined): Buffer => Buffer.from((content ?? '') as Uint8Array);
  for (const name of names) expect(bytes(found[name]).equals(bytes(expected[name])), name).toBe(true);
}

const VARIANTS: Record<string, { readonly changes?: Changes; readonly data?: FinetuneRequest['data'] }> = {
  'AdamW on the device': {},
  'paged AdamW': { changes: { training: { optim: 'paged_adamw' } } },
  Lion: { changes: { training: { optim: 'lion_32bit', learning_rate: 0.002 } } },
  'paged Lion': { changes: { training: { optim: 'paged_lion_32bit', learning_rate: 0.002, weight_decay: 0.1 } } },
  'gradient descent': { changes: { training: { optim: 'sgd', learning_rate: 0.1 } } },
  'gradient descent with momentum': { changes: { training: { optim: 'sgd', momentum: 0.9, learning_rate: 0.1 } } },
  'a 4-bit base and gradient checkpointing': {
    changes: { quantization: { load_in_4bit: true }, training: { gradient_checkpointing: true } },
  },
  'a run that ends for want of gain': {
    changes: { training: { early_stopping_patience: 2, early_stopping_threshold: 100 } },
  },
  PiSSA: { changes: { adapter: { r: 4, init_lora_weights: 'pissa' } } },
  'DoRA with LoRA+': { changes: { adapter: { r: 4, use_dora: true, loraplus_lr_ratio: 4 } } },
  'prompt tuning': { changes: { adapter: { method: 'prompt_tuning' } } },
  'bottleneck adapters': { changes: { adapter: { method: 'bottleneck' } } },
  'the last layer': { changes: { adapter: { method: 'layers' } } },
  'all weights': { changes: { adapter: { method: 'full' } } },
  'packed rows': {
    changes: { data: { packing: true, max_length: 24 } },
    data: { train: [rows(40, 1, 7)], validation: [rows(8, 2)] },
  },
  'a mix of data sets': {
    data: {
      train: [
        { name: 'one', sources: [rows(14, 1)], weight: 3 },
        { name: 'two', sources: [rows(6, 5)], weight: 1 },
      ],
      validation: [rows(8, 2)],
    },
  },
  'streamed rows': {
    changes: {
      data: { streaming: true, validation: undefined },
      training: { eval_steps: undefined, early_stopping_patience: undefined },
    },
    data: { train: [memorySource('train.jsonl', new TextEncoder().encode(toJsonl(countingRows(20, 1))))] },
  },
};

/** Software rendering of WebGPU takes its time: what touches the device is tried there. */
const variantsOf = (backend: string): [string, (typeof VARIANTS)[string]][] =>
  Object.entries(VARIANTS).filter(([name]) => backend === 'wasm' || /AdamW|Lion|momentum/.test(name));

describeBackends('a run that goes on', ['wasm', 'webgpu'], (backend) => {
  it.each(variantsOf(backend))('equals one that was never stopped, to the bit: %s', async (_, { changes, data }) => {
    const config = configOf(backend, changes);
    const request = data === undefined ? {} : { data };
    const whole = await run(config, request);
    const { steps } = whole.result.training;
    expect(steps).toBeGreaterThan(7);
    expect([...whole.checkpoints.keys()]).toEqual(Array.from({ length: steps }, (_, i) => i + 1));
    for (const from of backend === 'wasm' ? [1, 5, steps] : [5]) {
      const resume = memoryDirectory(`checkpoint-${from}`, whole.checkpoints.get(from) as Files);
      expectSameEnd(await run(config, { ...request, resume }), whole, from);
    }
  });

  if (backend !== 'wasm') return;

  it('gives up a step between two micro-batches, as if it had not begun', async () => {
    const config = configOf(backend, { training: { save_strategy: 'no' } });
    const whole = await run(config);
    expect(whole.checkpoints.size).toBe(0);
    let asked = 0;
    // Before, within and after a step there is one question each.
    const stopped = await run(config, {}, { shouldStop: () => ++asked > 10 });
    const { steps } = stopped.result.training;
    expect(steps).toBeGreaterThan(2);
    expect([...stopped.checkpoints.keys()]).toEqual([steps]);
    const resumed = await run(config, { resume: memoryDirectory('stopped', stopped.checkpoints.get(steps) as Files) });
    expectSameEnd(resumed, whole, steps);
  });

  it('has checkpoints that are PEFT adapters, and tell of the best one', async () => {
    const { checkpoints, infos } = await run(configOf(backend));
    const initFrom = memoryDirectory('adapter', checkpoints.get(4) as Files);
    const next = await run(
      configOf(backend, { adapter: { ...BASE.adapter, init_from: 'adapter' }, training: { max_steps: 1 } }),
      { initFrom },
    );
    expect(next.result.training.steps).toBe(1);
    expect(infos[1]).toMatchObject({ name: 'checkpoint-2', step: 2, best: undefined });
    expect(infos[2]).toMatchObject({ step: 3, best: { step: 3 } });
  });
});

describe('save_strategy', () => {
  const steps = async (training: Changes['training']): Promise<number[]> => [
    ...(
      await run(
        configOf('wasm', { training: { ...training, num_train_epochs: 2, early_stopping_patience: undefined } }),
      )
    ).checkpoints.keys(),
  ];

  it('saves after each epoch, every some steps and at the end, or never', async () => {
    // 20 rows, 3 in a micro-batch, 2 of these in a step.
    expect(await steps({ save_strategy: 'epoch', save_steps: undefined })).toEqual([4, 8]);
    expect(await steps({ save_strategy: 'epoch', save_steps: undefined, max_steps: 6 })).toEqual([4, 6]);
    expect(await steps({ save_steps: 3 })).toEqual([3, 6, 8]);
    expect(await steps({ save_strategy: 'no', save_steps: undefined })).toEqual([]);
  });
});

describe('a checkpoint', () => {
  it('is refused when what the run is made of has changed, with all that has', async () => {
    const config = configOf('wasm', { training: { max_steps: 4 } });
    const resume = memoryDirectory('out/checkpoint-2', (await run(config)).checkpoints.get(2) as Files);
    const other = configOf('wasm', {
      adapter: { ...BASE.adapter, lora_alpha: 5 },
      training: { max_steps: 6, learning_rate: 0.01, logging_steps: 1, output_dir: 'elsewhere' },
    });
    const changed = {
      resume,
      model: memoryDirectory('tiny', { ...tinyModelFiles(2), 'tokenizer.model': 'x' }),
      data: { train: [rows(21, 1)] },
    };
    const refusal = await run(other, changed).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ name: 'ConfigError' });
    expect((refusal as Error).message.split('\n')).toEqual([
      'out/checkpoint-2 is of another run:',
      '  base model: model.safetensors holds something else',
      '  tokenizer: tokenizer.model was not there',
      '  data.train: file 1 holds something else',
      '  data.validation: file 1 is gone',
      '  adapter.lora_alpha was 16 and is 5',
      '  training.max_steps was 4 and is 6',
      '  training.learning_rate was 0.02 and is 0.01',
      '--force goes on from it all the same',
    ]);
    const notes: string[] = [];
    const otherData = { train: [rows(21, 1)], validation: [rows(8, 2)] };
    const forced = await run(
      configOf('wasm', { training: { max_steps: 6 } }),
      { resume, data: otherData, force: true },
      { onNote: (note) => void notes.push(note) },
    );
    expect(forced.result.training.steps).toBe(6);
    expect(notes.join()).toContain(
      'going on although the run was another (--force):\n  data.train: file 1 holds something else\n  training.max_steps was 4 and is 6',
    );
  });

  it('of a constant schedule may be gone on from for longer, with the numbers of a longer run', async () => {
    const config = (max: number): RunConfig =>
      configOf('wasm', { training: { max_steps: max, lr_scheduler_type: 'constant_with_warmup', eval_steps: 2 } });
    const resume = memoryDirectory('checkpoint-4', (await run(config(4))).checkpoints.get(4) as Files);
    expectSameEnd(await run(config(8), { resume }), await run(config(8)), 4);
  });

  it('is refused when a byte of it has changed, a file is short or missing', async () => {
    const { checkpoints } = await run(configOf('wasm', { training: { max_steps: 1 } }));
    const files = checkpoints.get(1) as Record<string, Uint8Array | string>;
    expect(await manifestProblem(memoryDirectory('whole', files))).toBeUndefined();
    for (const name of Object.keys(files)) {
      const { [name]: content, ...rest } = files;
      expect(await manifestProblem(memoryDirectory('lacking', rest))).toBe(
        name === MANIFEST_FILE ? 'it has no manifest.json' : `${name} is missing`,
      );
      const bytes = Buffer.from(content as Uint8Array);
      expect(
        await manifestProblem(memoryDirectory('short', { ...files, [name]: bytes.subarray(0, -2) })),
        name,
      ).toBeDefined();
      if (name === MANIFEST_FILE) continue;
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
      expect(await manifestProblem(memoryDirectory('changed', { ...files, [name]: bytes }))).toBe(
        `${name} does not hold what was written`,
      );
    }
    await expect(run(configOf('wasm'), { resume: memoryDirectory('empty', {}) })).rejects.toThrow(
      'empty is no whole checkpoint: it has no manifest.json',
    );
  });
});
