import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { setReplay } from '../../../kernels/index.js';
import { definitionOf } from '../../../src/adapters/registry.js';
import { loadConfig } from '../../../src/config/load.js';
import { collate } from '../../../src/data/collate.js';
import { loadDataset } from '../../../src/data/dataset.js';
import { takeExamples, type ExampleList } from '../../../src/data/examples.js';
import { evaluateLoss } from '../../../src/eval/loss.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import type { Decoder } from '../../../src/model/decoder.js';
import { loadModel } from '../../../src/model/load.js';
import { valuesOf } from '../../../src/model/variable.js';
import { train } from '../../../src/train/loop.js';
import type { MicroBatch } from '../../../src/train/objectives/objective.js';
import { sequenceMean } from '../../../src/train/objectives/sequence-mean.js';
import type { TrainState } from '../../../src/train/run-state.js';
import { lossAndGradients } from '../../../src/train/step.js';
import { describeBackends } from '../../support/backends.js';
import { expectClose } from '../../support/numeric.js';
import { countingRows, modelFiles, TINY_CONFIG } from '../../support/tiny-model.js';

/** Rows of unlike lengths, of which the first tokens are not learnt. */
async function examplesOf(count: number): Promise<ExampleList> {
  const rows = countingRows(count, 3, 14).map(({ input_ids: ids }, i) => ({
    input_ids: ids.slice(0, 5 + ((5 * i) % 9)),
    labels: ids.slice(0, 5 + ((5 * i) % 9)).map((id, t) => (t < 1 + (i % 3) ? -100 : id)),
  }));
  const { examples } = await loadDataset({ source: { name: 'rows', rows } });
  return examples;
}

const batchOf = async (examples: ExampleList, indices: readonly number[]): Promise<MicroBatch> =>
  collate(await takeExamples(examples, Int32Array.from(indices)));

function optionsOf(training: object, data: object = {}): ReturnType<typeof loadConfig> {
  return loadConfig(
    JSON.stringify({
      model: './m',
      data: { train: './t.jsonl', validation: './v.jsonl', ...data },
      adapter: { r: 4, lora_dropout: 0.1 },
      training: { output_dir: './o', objective: 'sequence_mean', ...training },
    }),
    'test.json',
  );
}

/** −(1/R) Σ_rows (Σ_t log p)/count in float64, from the logits of the model, and its gradient by the logits. */
async function exact(
  decoder: Decoder,
  { inputIds, labels, batch, seq }: MicroBatch,
): Promise<{ loss: number; dLogits: Float32Array }> {
  const logits = tf.tidy(() =>
    decoder.head.logits(decoder.hidden({ ids: tf.tensor1d(inputIds, 'int32'), batch, length: seq })),
  );
  const values = Float64Array.from(await logits.data());
  logits.dispose();
  const vocab = decoder.head.vocab;
  const dLogits = new Float64Array(values.length);
  const targets = Array.from({ length: batch }, (_, b) =>
    Array.from({ length: seq - 1 }, (_t, t) => ({
      token: b * seq + t,
      label: labels[b * seq + t + 1] as number,
    })).filter(({ label }) => label !== -100),
  ).filter((row) => row.length > 0);
  let loss = 0;
  for (const row of targets)
    for (const { token, label } of row) {
      const of = values.subarray(token * vocab, (token + 1) * vocab);
      const top = of.reduce((a, b) => Math.max(a, b));
      const sum = of.reduce((a, b) => a + Math.exp(b - top), 0);
      const weight = 1 / (targets.length * row.length);
      loss += weight * (top + Math.log(sum) - (of[label] as number));
      of.forEach((logit, v) => {
        dLogits[token * vocab + v] = weight * (Math.exp(logit - top) / sum - (v === label ? 1 : 0));
      });
    }
  return { loss, dLogits: Float32Array.from(dLogits) };
}

const MODELS: [string, object, object][] = [
  ['an output layer of its own', {}, { method: 'lora', target_modules: 'all-linear' }],
  ['tied weights', { tie_word_embeddings: true }, { method: 'lora', target_modules: 'all-linear' }],
  ['an adapter on the output layer', {}, { method: 'lora', target_modules: ['q_proj', 'lm_head'] }],
  ['all weights', {}, { method: 'full' }],
];

describeBackends('sequence_mean', ['wasm', 'webgpu'], (backend) => {
  it.each(MODELS)('has the loss and gradients of its definition in float64: %s', async (_, model, of) => {
    const config = loadConfig(
      JSON.stringify({ model: './m', data: { train: './t.jsonl' }, adapter: of, training: { output_dir: './o' } }),
      'test.json',
    );
    const definition = definitionOf(config.adapter.method);
    const decoder = await loadModel(memoryDirectory('tiny', modelFiles({ ...TINY_CONFIG, ...model })), {
      ...(config.adapter.method === 'full' ? { trainable: () => true } : {}),
    });
    const adapter = definition.create(decoder, config.adapter as never, 1);
    const parameters = adapter.parameters.map((p) => p.variable);
    const examples = await examplesOf(7);
    const batch = await batchOf(examples, [0, 1, 2, 3, 4, 5, 6]);
    // A row without anything to learn counts for nothing.
    batch.labels.fill(-100, 2 * batch.seq, 3 * batch.seq);
    const { loss: expected, dLogits } = await exact(decoder, batch);
    const made = lossAndGradients(decoder, parameters, [batch], undefined, sequenceMean);
    expectClose(await made.loss.data<'float32'>(), [expected], 1e-5, 'loss');
    // The chain from the logits to the parameters is that of every other test: Σ dLogits · logits has these gradients.
    const through = lossAndGradients(decoder, parameters, [batch], undefined, {
      ...sequenceMean,
      itemCount: () => 1,
      lossSum: (of) =>
        tf.sum<tf.Scalar>(
          tf.mul(
            of.head.logits(
              of.hidden({ ids: tf.tensor1d(batch.inputIds, 'int32'), batch: batch.batch, length: batch.seq }),
            ),
            tf.tensor2d(dLogits, [batch.batch * batch.seq, of.head.vocab]),
          ),
        ),
    });
    for (const [i, gradient] of made.gradients.entries())
      expectClose(
        await gradient.data<'float32'>(),
        await (through.gradients[i] as tf.Tensor).data<'float32'>(),
        2e-5,
        adapter.parameters[i]?.key,
      );
    // Spread over micro-batches it is the same, and with activations made again.
    const apart = [await batchOf(examples, [0, 1]), await batchOf(examples, [3, 4, 5, 6])];
    const { layerParameters } = adapter;
    for (const context of [{}, layerParameters === undefined ? {} : { gradientCheckpointing: layerParameters }]) {
      const spread = lossAndGradients(decoder, parameters, apart, () => context, sequenceMean);
      expectClose(await spread.loss.data<'float32'>(), [expected], 1e-5, 'loss');
      for (const [i, gradient] of spread.gradients.entries())
        expectClose(
          await gradient.data<'float32'>(),
          await (made.gradients[i] as tf.Tensor).data<'float32'>(),
          2e-5,
          adapter.parameters[i]?.key,
        );
      tf.dispose([spread.loss, spread.gradients]);
    }
    const evaluated = await evaluateLoss(decoder, examples, 3, sequenceMean);
    const all = await exact(decoder, await batchOf(examples, [0, 1, 2, 3, 4, 5, 6]));
    expect(evaluated.loss).toBeCloseTo(all.loss, 4);
    expect(evaluated.perplexity).toBe(Math.exp(evaluated.loss));
    tf.dispose([made.loss, made.gradients, through.loss, through.gradients]);
    adapter.dispose();
    decoder.dispose();
  });

  interface Outcome {
    readonly logs: unknown[];
    readonly values: number[][];
    readonly states: TrainState[];
    readonly refusals: string[];
  }

  async function trained(options: object, resume?: TrainState): Promise<Outcome> {
    const { adapter: settings, training } = optionsOf({
      max_steps: 10,
      logging_steps: 1,
      eval_steps: 5,
      save_strategy: 'steps',
      save_steps: 5,
      gradient_accumulation_steps: 2,
      per_device_train_batch_size: 4,
      learning_rate: 0.01,
      ...options,
    });
    const decoder = await loadModel(memoryDirectory('tiny', modelFiles({ ...TINY_CONFIG, tie_word_embeddings: true })));
    const adapter = definitionOf('lora').create(decoder, settings as never, 1);
    const examples = await examplesOf(32);
    const [logs, states, refusals]: [unknown[], TrainState[], string[]] = [[], [], []];
    await train({
      decoder,
      adapter,
      examples,
      options: training,
      resume,
      callbacks: {
        evaluate: () => evaluateLoss(decoder, examples, 8, sequenceMean),
        onLog: ({ step, loss, grad_norm }) => void logs.push([step, loss, grad_norm]),
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

  it('trains with accumulation and goes on from a checkpoint to the bit, with activations kept or made again', async () => {
    const before = tf.memory().numTensors;
    const whole = await trained({});
    expect(tf.memory().numTensors).toBe(before);
    const losses = whole.logs.filter((log) => Array.isArray(log)) as [number, number, number][];
    expect((losses.at(-1) as number[])[1]).toBeLessThan((losses[0] as number[])[1] as number);
    const rest = await trained({}, whole.states[0]);
    expect([rest.logs, rest.values]).toEqual([whole.logs.slice(-rest.logs.length), whole.values]);
    expect((await trained({ gradient_checkpointing: true })).logs).toEqual(whole.logs);
  });

  if (backend === 'webgpu')
    it('is replayed to the bit', async () => {
      setReplay(false);
      const eager = await trained({});
      setReplay(true);
      const replayed = await trained({});
      expect(replayed.refusals).toEqual([]);
      expect([replayed.logs, replayed.values]).toEqual([eager.logs, eager.values]);
    });
});

describe('sequence_mean in a config', () => {
  it('contradicts packed rows', () => {
    expect(optionsOf({}).training.objective).toBe('sequence_mean');
    expect(() => optionsOf({}, { packing: true })).toThrow('sequence_mean contradicts data.packing');
  });
});
