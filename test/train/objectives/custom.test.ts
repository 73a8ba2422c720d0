import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { setReplay } from '../../../kernels/index.js';
import { definitionOf } from '../../../src/adapters/registry.js';
import { loadConfig } from '../../../src/config/load.js';
import { loadDataset } from '../../../src/data/dataset.js';
import { nodeHost } from '../../../src/device/node.js';
import { evaluateLoss } from '../../../src/eval/loss.js';
import { finetune } from '../../../src/finetune/finetune.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import { loadModel } from '../../../src/model/load.js';
import { valuesOf } from '../../../src/model/variable.js';
import { train } from '../../../src/train/loop.js';
import type { Objective } from '../../../src/train/objectives/objective.js';
import { tokenMean, type TokenInputs } from '../../../src/train/objectives/token-mean.js';
import type { TrainState } from '../../../src/train/run-state.js';
import { describeBackends } from '../../support/backends.js';
import { countingRows, tinyModelFiles } from '../../support/tiny-model.js';

const Z_WEIGHT = 0.01;

/** Cross-entropy and 0.01 · (ln Σ exp logits)² of every position, as users write one: with a metric, counted by rows. */
const withZLoss: Objective<TokenInputs> = {
  name: 'z_loss',
  isCrossEntropy: false,
  metrics: ['z'],
  itemCount: ({ batch }) => batch,
  inputs: (decoder, batch, options) => tokenMean.inputs(decoder, batch, options) as TokenInputs,
  lossSum(decoder, { batch, seq, ids, targets }, context) {
    const hidden = decoder.hidden({ ids: tf.tensor1d(ids, 'int32'), batch, length: seq }, context);
    const crossEntropy = decoder.head.lossSum(hidden, targets, context.training ?? true, context);
    const z = tf.sum<tf.Scalar>(tf.square(tf.logSumExp(decoder.head.logits(hidden), 1)));
    return { lossSum: tf.add(crossEntropy, tf.mul(z, Z_WEIGHT)), metricSums: [z] };
  },
};

interface Outcome {
  readonly logs: unknown[];
  readonly values: number[][];
  readonly states: TrainState[];
  readonly refusals: string[];
}

const training = {
  output_dir: './o',
  max_steps: 10,
  logging_steps: 2,
  eval_steps: 5,
  save_strategy: 'steps',
  save_steps: 5,
  gradient_accumulation_steps: 2,
  per_device_train_batch_size: 4,
  learning_rate: 0.01,
};

async function trained(options: object = {}, resume?: TrainState): Promise<Outcome> {
  const text = JSON.stringify({
    model: './m',
    data: { train: './t.jsonl', validation: './v.jsonl' },
    adapter: { r: 4, lora_dropout: 0.1 },
    training: { ...training, ...options },
  });
  const config = loadConfig(text, 'test.json');
  const decoder = await loadModel(memoryDirectory('tiny', tinyModelFiles()));
  const adapter = definitionOf('lora').create(decoder, config.adapter as never, 1);
  const { examples } = await loadDataset({ source: { name: 'rows', rows: countingRows(32, 3) } });
  const [logs, states, refusals]: [unknown[], TrainState[], string[]] = [[], [], []];
  await train({
    decoder,
    adapter,
    examples,
    options: config.training,
    objective: withZLoss,
    resume,
    callbacks: {
      evaluate: () => evaluateLoss(decoder, examples, 8, withZLoss),
      onLog: ({ step, loss, grad_norm, metrics }) => void logs.push([step, loss, grad_norm, metrics]),
      onEvaluate: (metrics) => void logs.push(metrics),
      onCheckpoint: (state) => void states.push(state),
      onDebug: (reason) => void refusals.push(reason),
    },
  });
  const values = await Promise.all(
    adapter.parameters.map(async ({ variable }) => Array.from(await valuesOf(variable))),
  );
  adapter.dispose();
  decoder.dispose();
  return { logs, values, states, refusals };
}

describeBackends('an objective of the caller’s own', ['wasm', 'webgpu'], (backend) => {
  it('trains, is evaluated and logged with its metrics, and goes on from a checkpoint with the same numbers', async () => {
    const before = tf.memory().numTensors;
    const whole = await trained();
    expect(tf.memory().numTensors).toBe(before);
    const evaluations = whole.logs.filter((log) => !Array.isArray(log)) as {
      eval_loss: number;
      perplexity?: number;
      metrics: { z: number };
    }[];
    expect(evaluations).toHaveLength(2);
    for (const { eval_loss: loss, perplexity, metrics } of evaluations) {
      expect(perplexity).toBeUndefined();
      expect(metrics.z).toBeGreaterThan(0);
      expect(loss).toBeGreaterThan(Z_WEIGHT * metrics.z);
    }
    const steps = whole.logs.filter((log) => Array.isArray(log)) as [number, number, number, { z: number }][];
    expect(steps.map(([step]) => step)).toEqual([2, 4, 6, 8, 10]);
    expect((steps.at(-1) as (typeof steps)[0])[1]).toBeLessThan((steps[0] as (typeof steps)[0])[1]);
    for (const [, , , metrics] of steps) expect(metrics.z).toBeGreaterThan(0);

    const rest = await trained({}, whole.states[0]);
    expect(rest.logs).toEqual(whole.logs.slice(-rest.logs.length));
    expect(rest.values).toEqual(whole.values);
  });

  it('has the same numbers with gradient checkpointing', async () => {
    const [kept, again] = [await trained(), await trained({ gradient_checkpointing: true })];
    expect(again.logs).toEqual(kept.logs);
  });

  if (backend === 'webgpu')
    it('is replayed to the bit', async () => {
      setReplay(false);
      const eager = await trained();
      setReplay(true);
      const replayed = await trained();
      expect(replayed.refusals).toEqual([]);
      expect([replayed.logs, replayed.values]).toEqual([eager.logs, eager.values]);
    });
});

describe('finetune with an objective', () => {
  const model = memoryDirectory('tiny', tinyModelFiles());
  const request = {
    config: {
      model: 'org/tiny',
      device: 'wasm' as const,
      adapter: { r: 4 },
      training: { output_dir: 'out', max_steps: 4, per_device_train_batch_size: 4 },
    },
    model,
    data: { train: [{ name: 'rows', rows: countingRows(16, 1) }], test: [{ name: 'rows', rows: countingRows(8, 2) }] },
    host: nodeHost,
  };

  it('minimises that, and does not go on from a checkpoint of another one', async () => {
    const checkpoints: Record<string, Uint8Array | string>[] = [];
    const callbacks = { onCheckpoint: (files: Record<string, Uint8Array | string>) => void checkpoints.push(files) };
    const result = await finetune({ ...request, objective: withZLoss, callbacks });
    expect(result.test?.perplexity).toBeUndefined();
    expect(result.test?.metrics?.['z']).toBeGreaterThan(0);
    const resume = memoryDirectory('checkpoint-4', checkpoints.at(-1) as Record<string, Uint8Array | string>);
    await expect(finetune({ ...request, resume })).rejects.toThrow(
      'training.objective was "z_loss" and is "token_mean"',
    );
    const again = await finetune({ ...request, objective: withZLoss, resume });
    expect(again.files['adapter_model.safetensors']).toEqual(result.files['adapter_model.safetensors']);
  });
});
