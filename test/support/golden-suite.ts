import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Adapter } from '../../src/adapters/adapter.js';
import { loadAdapter } from '../../src/adapters/peft/files.js';
import { localDirectory } from '../../src/io/node.js';
import type { Decoder } from '../../src/model/decoder.js';
import { loadModel, type LoadQuantization } from '../../src/model/load.js';
import { batchLossSum } from '../../src/model/loss.js';
import { AdamW } from '../../src/train/optimizers/resident.js';
import { learningRateFactor } from '../../src/train/schedule.js';
import type { MicroBatch } from '../../src/train/objectives/objective.js';
import { lossAndGradients, trainStep } from '../../src/train/step.js';
import { goldenFolder, missingGoldens, readTensors } from './goldens.js';
import { describeReferences } from './references.js';

/*
 * Against transformers 5.18 + peft 0.21 in float32. The references' own noise (float32 against float64) is at most 1e-5
 * in logits, 9.4e-7 in gradients, 1.4e-6 in losses; a wrong setting moves logits by at least 7.1e-4.
 */
const LOGITS = 1e-4;
const LOSS = 1e-5;
const GRADIENT = 1e-5;
const RUN_LOSS = 1e-4;
const RUN_WEIGHTS = 1e-4;

export interface GoldenCase {
  readonly architecture: string;
  readonly model?: string;
  readonly variant: string;
  readonly quantization?: LoadQuantization;
}

interface TrainStep {
  readonly micro_batches: readonly number[];
  readonly loss: number;
  readonly lr: number;
  readonly grad_norm_before_clip: number;
}

type Tensors = Awaited<ReturnType<typeof readTensors>>;

function worst(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let error = 0;
  for (let i = 0; i < expected.length; i++)
    error = Math.max(error, Math.abs((actual[i] as number) - (expected[i] as number)));
  return error;
}

function batchOf(inputs: Tensors, prefix: string): MicroBatch {
  const { shape, values } = inputs.get(`${prefix}input_ids`) as { shape: readonly number[]; values: number[] };
  const [batch, seq] = shape as [number, number];
  const mask = inputs.get(`${prefix}attention_mask`)?.values;
  const labels = Int32Array.from(inputs.get(`${prefix}labels`)?.values as number[]);
  const supervisedCount = labels.filter((label, i) => i % seq !== 0 && label !== -100).length;
  // Rows are padded on the right: their masks are ones, then zeros.
  expect(mask).toBeDefined();
  return { inputIds: Int32Array.from(values), labels, batch, seq, supervisedCount };
}

/**
 * The checks of one case: logits, loss and gradients before training and ten steps of it. `describeOn` runs what
 * registers them on the backend, or backends, that it stands for.
 */
export function describeGolden(
  { architecture, model, variant, quantization }: GoldenCase,
  describeOn: (title: string, body: () => void) => void,
): void {
  const folder = goldenFolder(architecture);
  const modelFolder = goldenFolder(model ?? architecture);
  const title = `${architecture} ${variant}${model?.endsWith('hf4bit') === true ? ' from a 4-bit checkpoint' : ''}`;
  if (folder === undefined || modelFolder === undefined) {
    describeReferences(title, missingGoldens(architecture, model ?? architecture), () => undefined);
    return;
  }
  describeOn(title, () => registerChecks(folder, modelFolder, variant, quantization));
}

function registerChecks(
  folder: string,
  modelFolder: string,
  variant: string,
  quantization: LoadQuantization | undefined,
): void {
  const golden = join(folder, 'golden');
  let decoder: Decoder;
  let adapter: Adapter;
  let inputs: Tensors;

  beforeAll(async () => {
    inputs = await readTensors(join(golden, 'inputs.safetensors'));
    decoder = await loadModel(localDirectory(modelFolder), { quantization });
  });
  afterAll(() => {
    adapter.dispose();
    decoder.dispose();
  });

  async function logitsError(file: string): Promise<number> {
    const expected = (await readTensors(join(golden, file))).get('logits')?.values as Float32Array;
    const batch = batchOf(inputs, '');
    const mask = inputs.get('attention_mask')?.values as number[];
    const logits = tf.tidy(() => {
      const ids = tf.tensor1d(batch.inputIds, 'int32');
      return decoder.logits(decoder.hidden({ ids, batch: batch.batch, length: batch.seq }));
    });
    const actual = await logits.data<'float32'>();
    logits.dispose();
    const vocab = decoder.config.vocabSize;
    const real = (_: number, i: number): boolean => mask[Math.floor(i / vocab)] === 1;
    // A trained prompt's references have its positions too, in front of each row.
    const ahead = expected.length / (batch.batch * vocab) - batch.seq;
    const given = expected.filter((_, i) => Math.floor(i / vocab) % (batch.seq + ahead) >= ahead);
    return worst(actual.filter(real), given.filter(real));
  }

  async function meanLoss(): Promise<number> {
    const batch = batchOf(inputs, '');
    const sum = batchLossSum(decoder, batch, { training: false });
    const [value] = await sum.data();
    sum.dispose();
    return (value as number) / batch.supervisedCount;
  }

  it('has the base model’s logits and loss', async () => {
    if (existsSync(join(golden, 'base.safetensors')))
      expect(await logitsError('base.safetensors')).toBeLessThanOrEqual(LOGITS);
    const base = JSON.parse(readFileSync(join(golden, 'base.json'), 'utf8')) as { loss: number };
    expect(Math.abs((await meanLoss()) - base.loss)).toBeLessThanOrEqual(LOSS);
  });

  it('has the adapter’s logits, loss and gradients', async () => {
    adapter = await loadAdapter(decoder, localDirectory(join(golden, variant, 'adapter')));
    expect(await logitsError(`${variant}/outputs.safetensors`)).toBeLessThanOrEqual(LOGITS);
    const metrics = JSON.parse(readFileSync(join(golden, variant, 'metrics.json'), 'utf8')) as { loss: number };
    expect(Math.abs((await meanLoss()) - metrics.loss)).toBeLessThanOrEqual(LOSS);
    const expected = await readTensors(join(golden, variant, 'grads.safetensors'));
    const { loss, gradients } = lossAndGradients(
      decoder,
      adapter.parameters.map((p) => p.variable),
      [batchOf(inputs, '')],
    );
    expect(expected.size).toBe(gradients.length);
    for (const [i, { key }] of adapter.parameters.entries()) {
      const actual = await (gradients[i] as tf.Tensor).data<'float32'>();
      expect(worst(actual, expected.get(key)?.values as Float32Array), key).toBeLessThanOrEqual(GRADIENT);
    }
    tf.dispose([loss, gradients]);
  });

  it('trains ten steps to the same losses, norms and weights, with flat memory', async () => {
    const { num_items: run } = JSON.parse(readFileSync(join(golden, variant, 'train.json'), 'utf8')) as {
      num_items: { steps: TrainStep[] };
    };
    const parameters = adapter.parameters.map((p) => p.variable);
    const optimizer = new AdamW(parameters, {
      adam_beta1: 0.9,
      adam_beta2: 0.999,
      adam_epsilon: 1e-8,
      weight_decay: 0.01,
    });
    const memory: { tensors: number; bytes: number }[] = [];
    for (const [s, step] of run.steps.entries()) {
      const learningRate = 1e-3 * learningRateFactor('cosine', s, 2, run.steps.length);
      expect(Math.abs(learningRate - step.lr)).toBeLessThanOrEqual(1e-10);
      const batches = step.micro_batches.map((m) => batchOf(inputs, `micro${m}.`));
      const report = await trainStep(decoder, optimizer, parameters, batches, { learningRate, maxGradNorm: 1 });
      const [loss, norm] = await report.data();
      report.dispose();
      expect(Math.abs((loss as number) - step.loss), `loss of step ${s}`).toBeLessThanOrEqual(RUN_LOSS);
      expect(
        Math.abs((norm as number) - step.grad_norm_before_clip) / step.grad_norm_before_clip,
        `norm of step ${s}`,
      ).toBeLessThanOrEqual(1e-4);
      memory.push({ tensors: tf.memory().numTensors, bytes: tf.memory().numBytes });
    }
    expect(memory.at(-1)).toEqual(memory[1]);
    const expected = await readTensors(join(golden, variant, 'final_num_items.safetensors'));
    for (const { key, variable } of adapter.parameters) {
      expect(
        worst(await variable.data<'float32'>(), expected.get(key)?.values as Float32Array),
        key,
      ).toBeLessThanOrEqual(RUN_WEIGHTS);
    }
    optimizer.dispose();
  });
}
