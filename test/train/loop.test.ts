import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import type { Adapter } from '../../src/adapters/adapter.js';
import { METHODS } from '../../src/adapters/registry.js';
import { loadConfig } from '../../src/config/load.js';
import type { RunConfig } from '../../src/config/schema.js';
import { loadDataset } from '../../src/data/dataset.js';
import type { ExampleList } from '../../src/data/examples.js';
import { memoryDirectory } from '../../src/io/directory.js';
import type { Decoder } from '../../src/model/decoder.js';
import { loadModel } from '../../src/model/load.js';
import { train } from '../../src/train/loop.js';
import type { StepMetrics } from '../../src/train/metrics.js';
import type { TrainCallbacks } from '../../src/train/request.js';
import { learningRateFactor, stepsPerEpoch, totalStepsOf, warmupStepsOf } from '../../src/train/schedule.js';
import { describeBackends } from '../support/backends.js';
import { countingRows, tinyModelFiles } from '../support/tiny-model.js';

function optionsOf(training: Readonly<Record<string, unknown>>): RunConfig['training'] {
  const config = {
    model: './m',
    data: { train: './t.jsonl', validation: './v.jsonl' },
    training: { output_dir: './o', logging_steps: 1, learning_rate: 0.01, ...training },
  };
  return loadConfig(JSON.stringify(config), 'test.json').training;
}

async function examplesOf(count: number): Promise<ExampleList> {
  const { examples } = await loadDataset({ source: { name: 'rows', rows: countingRows(count, 3) } });
  return examples;
}

describe('schedules', () => {
  it('rise from 0 and fall to 0 as transformers’ do', () => {
    const cosine = (step: number): number => learningRateFactor('cosine', step, 2, 10);
    expect([cosine(0), cosine(1), cosine(2), cosine(10)]).toEqual([0, 0.5, 1, 0]);
    expect(cosine(6)).toBeCloseTo(0.5, 12);
    expect(learningRateFactor('linear', 6, 2, 10)).toBeCloseTo(0.5, 12);
    expect(learningRateFactor('constant', 0, 2, 10)).toBe(1);
    expect(learningRateFactor('constant_with_warmup', 1, 2, 10)).toBe(0.5);
    expect(warmupStepsOf({ warmup_steps: 0, warmup_ratio: 0.03 }, 101)).toBe(4);
  });

  it('count steps by epochs, with a smaller last group', () => {
    expect(stepsPerEpoch(10, 4, 2)).toBe(2);
    expect(
      totalStepsOf(
        10,
        optionsOf({ num_train_epochs: 1.5, per_device_train_batch_size: 4, gradient_accumulation_steps: 2 }),
      ),
    ).toBe(3);
    expect(totalStepsOf(10, optionsOf({ max_steps: 7 }))).toBe(7);
  });
});

describeBackends('train', ['wasm'], () => {
  async function withRun<T>(body: (decoder: Decoder, adapter: Adapter) => Promise<T>): Promise<T> {
    const decoder = await loadModel(memoryDirectory('tiny', tinyModelFiles()));
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
      1,
    );
    try {
      return await body(decoder, adapter);
    } finally {
      adapter.dispose();
      decoder.dispose();
    }
  }

  const values = async (adapter: Adapter): Promise<number[]> =>
    (await Promise.all(adapter.parameters.map(async (p) => Array.from(await p.variable.data())))).flat();

  async function trained(
    training: Readonly<Record<string, unknown>>,
    callbacks: TrainCallbacks = {},
  ): Promise<{ steps: StepMetrics[]; values: number[]; best: number | undefined; done: number }> {
    return withRun(async (decoder, adapter) => {
      const steps: StepMetrics[] = [];
      const result = await train({
        decoder,
        adapter,
        examples: await examplesOf(16),
        options: optionsOf(training),
        callbacks: { ...callbacks, onLog: (metrics) => void steps.push(metrics) },
      });
      return { steps, values: await values(adapter), best: result.best?.step, done: result.steps };
    });
  }

  it('weights tokens alike however rows are spread over micro-batches', async () => {
    // No dropout: its masks belong to micro-batches.
    const run = (batch: number, accumulation: number): Promise<number[]> =>
      withRun(async (decoder) => {
        for (const [name, layer] of decoder.weights.linears) decoder.linears.set(name, layer);
        const plain = METHODS.lora.create(
          decoder,
          {
            r: 4,
            lora_alpha: 8,
            lora_dropout: 0,
            target_modules: 'all-linear',
            use_rslora: false,
            init_lora_weights: true,
          },
          1,
        );
        await train({
          decoder,
          adapter: plain,
          examples: await examplesOf(16),
          options: optionsOf({
            max_steps: 4,
            per_device_train_batch_size: batch,
            gradient_accumulation_steps: accumulation,
          }),
        });
        const out = await values(plain);
        plain.dispose();
        return out;
      });
    const [together, apart] = [await run(4, 1), await run(1, 4)];
    expect(Math.max(...together.map((v, i) => Math.abs(v - (apart[i] as number))))).toBeLessThan(2e-5);
  });

  it('keeps tensors and bytes flat, and logs what it did', async () => {
    const { steps } = await trained({ max_steps: 12, warmup_steps: 2 });
    expect(steps.map((s) => s.step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(new Set(steps.slice(1).map((s) => s.memory_bytes)).size).toBe(1);
    expect(steps[0]?.learning_rate).toBe(0);
    expect((steps.at(-1) as StepMetrics).loss).toBeLessThan((steps[0] as StepMetrics).loss);
    expect((steps.at(-1) as StepMetrics).tokens).toBe(12 * 4 * 12);
    expect((steps.at(-1) as StepMetrics).epoch).toBe(3);
  });

  it('ends with the best adapter, and stops when nothing gets better', async () => {
    const losses = [3, 2, 2.5, 2.4, 2.3, 1];
    let evaluations = 0;
    const seen: number[][] = [];
    const run = await withRun(async (decoder, adapter) => {
      const evaluate = async (): Promise<{ loss: number; perplexity: number }> => {
        seen.push(await values(adapter));
        const loss = losses[evaluations++] as number;
        return { loss, perplexity: Math.exp(loss) };
      };
      const options = optionsOf({ max_steps: 20, eval_steps: 2, early_stopping_patience: 3 });
      const result = await train({
        decoder,
        adapter,
        examples: await examplesOf(16),
        options,
        callbacks: { evaluate },
      });
      return { result, final: await values(adapter) };
    });
    expect(run.result).toMatchObject({ steps: 10, stoppedEarly: true, best: { step: 4, eval_loss: 2 } });
    expect(run.final).toEqual(seen[1]);
    expect(seen[4]).not.toEqual(seen[1]);
  });

  it('keeps the best adapter however small its lead; the threshold is for giving up', async () => {
    const losses = [2, 1.99, 1.98, 1.97];
    let evaluations = 0;
    const evaluate = (): Promise<{ loss: number; perplexity: number }> => {
      const loss = losses[evaluations++] as number;
      return Promise.resolve({ loss, perplexity: Math.exp(loss) });
    };
    const { best, done } = await trained(
      { max_steps: 20, eval_steps: 1, early_stopping_patience: 3, early_stopping_threshold: 0.1 },
      { evaluate },
    );
    expect({ best, done }).toEqual({ best: 4, done: 4 });
  });

  it('stops at a loss that is not finite and names the step and its rows', async () => {
    await withRun(async (decoder, adapter) => {
      const examples = await examplesOf(16);
      const poison = (metrics: StepMetrics): void => {
        if (metrics.step !== 2) return;
        const { variable } = adapter.parameters[0] as Adapter['parameters'][number];
        tf.tidy(() => variable.assign(tf.mul(variable, NaN)));
      };
      const run = train({
        decoder,
        adapter,
        examples,
        options: optionsOf({ max_steps: 5 }),
        shuffle: false,
        callbacks: { onStep: poison },
      });
      await expect(run).rejects.toThrow(
        /step 3: the (?:loss|gradient norm) is NaN; the batch holds the rows 9, 10, 11, 12\. Nothing was saved/,
      );
    });
  });

  it('leaves nothing behind', async () => {
    const before = tf.memory().numTensors;
    await trained({ max_steps: 2 });
    expect(tf.memory().numTensors).toBe(before);
  });
});
