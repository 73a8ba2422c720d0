import * as tf from '@tensorflow/tfjs-core';
import { afterEach, expect, it } from 'vitest';
import { gpuBackend, usedBufferCount } from '../../../kernels/tfjs/webgpu.js';
import { setReplay } from '../../../kernels/index.js';
import { definitionOf } from '../../../src/adapters/registry.js';
import { loadConfig } from '../../../src/config/load.js';
import { loadDataset } from '../../../src/data/dataset.js';
import { evaluateLoss } from '../../../src/eval/loss.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import { loadModel, readModelConfig } from '../../../src/model/load.js';
import { valuesOf } from '../../../src/model/variable.js';
import { Random } from '../../../src/random.js';
import { createAccumulator } from '../../../src/train/gradients/create.js';
import { EagerAccumulator } from '../../../src/train/gradients/eager.js';
import { ReplayedAccumulator } from '../../../src/train/gradients/replayed.js';
import { train } from '../../../src/train/loop.js';
import type { OptimizerState } from '../../../src/train/optimizers/optimizer.js';
import { createOptimizer, type OptimizerType } from '../../../src/train/optimizers/registry.js';
import { AdamW } from '../../../src/train/optimizers/resident.js';
import type { TrainCallbacks } from '../../../src/train/request.js';
import type { TrainState } from '../../../src/train/run-state.js';
import type { MicroBatch } from '../../../src/train/objectives/objective.js';
import { OBJECTIVES, type ObjectiveName } from '../../../src/train/objectives/registry.js';
import { applyGradients, lossAndGradientsUnless } from '../../../src/train/step.js';
import { describeBackends } from '../../support/backends.js';
import { expectClose } from '../../support/numeric.js';
import { countingRows, modelFiles, TINY_CONFIG, tinyModelFiles } from '../../support/tiny-model.js';

interface Setup {
  readonly adapter?: Readonly<Record<string, unknown>>;
  readonly nf4?: boolean;
  readonly checkpointing?: boolean;
  readonly accumulation?: number;
  readonly packed?: boolean;
  readonly optim?: OptimizerType;
  readonly objective?: ObjectiveName;
}

/**
 * `apart`: a tensor a gradient and a moment. `flat`: AdamW over flat ones. `eager`: gradients too, with targets rounded
 * up.
 */
type Way = 'apart' | 'flat' | 'eager' | 'replayed';

interface Outcome {
  readonly reports: number[][];
  readonly values: number[][];
  readonly state: OptimizerState;
  readonly replayed: number;
  readonly refusals: string[];
  /** Tensors, and buffers in use, that are more than before. */
  readonly left: [number, number];
}

const STEPS = 8;
const LENGTHS = [6, 5, 6];

/** Rows of random tokens, of which some are not learnt. */
function microBatch(step: number, k: number, packed: boolean): MicroBatch {
  const seq = LENGTHS[step % LENGTHS.length] as number;
  const random = new Random(7, `rows/${step}/${k}`);
  const inputIds = Int32Array.from({ length: 2 * seq }, () => random.below(TINY_CONFIG.vocab_size));
  const labels = inputIds.slice();
  const ignored = 1 + random.below(3);
  labels.fill(-100, 1, 1 + ignored);
  const second = 2 + random.below(2);
  const starts = packed
    ? { starts: Int32Array.from({ length: 2 * seq }, (_, i) => (i % seq < second ? 0 : second)) }
    : {};
  return { inputIds, labels, batch: 2, seq, supervisedCount: 2 * (seq - 1) - ignored, ...starts };
}

const usedBuffers = (): number => usedBufferCount(gpuBackend());

async function trained(
  setup: Setup,
  way: Way,
  resume?: { values: number[][]; state: OptimizerState },
  from = 0,
  to = STEPS,
): Promise<Outcome> {
  setReplay(way === 'replayed');
  const before = { tensors: tf.memory().numTensors, buffers: usedBuffers() };
  const { accumulation = 1, checkpointing = false, packed = false, optim = 'adamw' } = setup;
  const text = JSON.stringify({
    model: './m',
    data: { train: './t.jsonl' },
    adapter: { ...(setup.adapter?.['method'] === undefined ? { r: 4 } : {}), ...setup.adapter },
    training: { output_dir: './o', learning_rate: 0.01 },
  });
  const { adapter: options, training } = loadConfig(text, 'test.json');
  const definition = definitionOf(options.method);
  const directory = memoryDirectory('tiny', modelFiles({ ...TINY_CONFIG, hidden_size: 64, intermediate_size: 96 }));
  const settings = options as Parameters<typeof definition.create>[1];
  const trainable = definition.trainable?.(await readModelConfig(directory), settings);
  const decoder = await loadModel(directory, {
    ...(setup.nf4 === true ? { quantization: { quantType: 'nf4' } } : {}),
    ...(trainable === undefined ? {} : { trainable }),
  });
  const adapter = definition.create(decoder, settings, 1);
  await adapter.initialize?.(undefined);
  const parameters = adapter.parameters.map((p) => p.variable);
  const scales = adapter.parameters.map((p) => p.learningRateScale ?? 1);
  const optimizer =
    way === 'apart'
      ? new AdamW(parameters, training, scales)
      : createOptimizer(optim, parameters, training, { learningRateScales: scales });
  const refusals: string[] = [];
  const objective = OBJECTIVES[setup.objective ?? 'token_mean'];
  const accumulator =
    way === 'apart' || way === 'flat'
      ? new EagerAccumulator(decoder, parameters, objective)
      : createAccumulator(decoder, parameters, objective, optimizer, (reason) => refusals.push(reason));
  if (resume !== undefined) {
    optimizer.restore(resume.state);
    parameters.forEach((parameter, i) =>
      tf.tidy(() => parameter.assign(tf.tensor(resume.values[i] as number[], parameter.shape))),
    );
  }
  const reports: number[][] = [];
  for (let step = from; step < to; step++) {
    const batches = Array.from({ length: accumulation }, (_, k) => microBatch(step, k, packed));
    const lossOptions = (k: number): object => ({
      dropoutSeed: 1000 * step + k,
      ...(checkpointing ? { gradientCheckpointing: adapter.layerParameters } : {}),
    });
    const sum = await lossAndGradientsUnless(undefined, accumulator, batches, lossOptions);
    const report = await applyGradients(optimizer, accumulator, sum as NonNullable<typeof sum>, {
      learningRate: 0.01 / (step + 1),
      maxGradNorm: 0.5,
    });
    reports.push(Array.from(await report.data()));
    report.dispose();
  }
  const state = await optimizer.state();
  const values = await Promise.all(parameters.map(async (p) => Array.from(await valuesOf(p))));
  const replayed = accumulator instanceof ReplayedAccumulator ? accumulator.replayed : 0;
  accumulator.dispose();
  optimizer.dispose();
  const after = await Promise.all(parameters.map(async (p) => Array.from(await valuesOf(p))));
  expect(after).toEqual(values);
  adapter.dispose();
  decoder.dispose();
  // What was given up waits for a submit.
  const marker = tf.tidy(() => tf.add(1, 1));
  await marker.data();
  marker.dispose();
  const left: [number, number] = [tf.memory().numTensors - before.tensors, usedBuffers() - before.buffers];
  return { reports, values, state, replayed, refusals, left };
}

describeBackends('steps that are replayed', ['webgpu'], () => {
  afterEach(() => {
    setReplay(true);
  });

  const SETUPS: [string, Setup][] = [
    ['LoRA', {}],
    ['two micro-batches a step', { adapter: { lora_dropout: 0.2 }, accumulation: 2 }],
    [
      'NF4, checkpointing, LoRA+',
      { adapter: { lora_dropout: 0.2, loraplus_lr_ratio: 4 }, nf4: true, checkpointing: true },
    ],
    ['packed rows', { packed: true }],
    ['DoRA with dropout', { adapter: { use_dora: true, lora_dropout: 0.2 } }],
    [
      'head, embedding, whole modules, tokens',
      { adapter: { target_modules: ['q_proj', 'embed_tokens', 'lm_head'], lora_dropout: 0.2 } },
    ],
    ['trained tokens', { adapter: { trainable_token_indices: [3, 5] } }],
    ['modules trained whole', { adapter: { modules_to_save: ['norm', 'lm_head'] } }],
    ['a trained prompt', { adapter: { method: 'prompt_tuning' } }],
    ['bottlenecks', { adapter: { method: 'bottleneck' }, checkpointing: true }],
    ['layers', { adapter: { method: 'layers' } }],
    ['full', { adapter: { method: 'full' } }],
    ['moments in host memory', { optim: 'paged_adamw', accumulation: 2 }],
    ['means of rows', { objective: 'sequence_mean', adapter: { lora_dropout: 0.2 }, accumulation: 2 }],
    [
      'means of rows through a trained head',
      { objective: 'sequence_mean', adapter: { target_modules: ['q_proj', 'lm_head'], lora_dropout: 0.2 } },
    ],
    ['Lion', { optim: 'lion_32bit', adapter: { loraplus_lr_ratio: 4 } }],
    ['gradient descent without a state', { optim: 'sgd' }],
  ];

  it('are those of moments and gradients in tensors apart', async () => {
    const setup = { adapter: { lora_dropout: 0.2, loraplus_lr_ratio: 4 }, accumulation: 2 };
    const [apart, flat] = [await trained(setup, 'apart'), await trained(setup, 'flat')];
    expect([flat.reports, flat.values, flat.state]).toEqual([apart.reports, apart.values, apart.state]);
    // Sums over rows that count for nothing may be rounded in another order.
    const replayed = await trained(setup, 'replayed');
    expect(replayed.replayed).toBeGreaterThan(0);
    replayed.reports.forEach((report, i) => {
      expectClose(report, apart.reports[i] as number[], 1e-5);
    });
  });

  it('go on from a checkpoint, from either way to either', async () => {
    const setup = { adapter: { lora_dropout: 0.2 } };
    const whole = await trained(setup, 'replayed');
    const half = await trained(setup, 'replayed', undefined, 0, 4);
    for (const way of ['eager', 'replayed'] as const) {
      const rest = await trained(setup, way, half, 4);
      expect([...half.reports, ...rest.reports]).toEqual(whole.reports);
      expect([rest.values, rest.state]).toEqual([whole.values, whole.state]);
    }
  });

  it('make a run of training what it is without, through evaluations, the best adapter and a checkpoint', async () => {
    const run = async (
      on: boolean,
      resume?: TrainState,
    ): Promise<{ logs: unknown[]; values: number[][]; states: TrainState[]; refusals: string[] }> => {
      setReplay(on);
      const text = JSON.stringify({
        model: './m',
        data: { train: './t.jsonl', validation: './v.jsonl' },
        adapter: { r: 4, lora_dropout: 0.1 },
        training: {
          output_dir: './o',
          max_steps: 12,
          logging_steps: 3,
          eval_steps: 4,
          save_strategy: 'steps',
          save_steps: 6,
          gradient_accumulation_steps: 2,
          per_device_train_batch_size: 4,
          learning_rate: 0.01,
        },
      });
      const { adapter: options, training } = loadConfig(text, 'test.json');
      const decoder = await loadModel(memoryDirectory('tiny', tinyModelFiles()));
      const adapter = definitionOf('lora').create(decoder, options as never, 1);
      const { examples } = await loadDataset({ source: { name: 'rows', rows: countingRows(32, 3) } });
      const [logs, states, refusals]: [unknown[], TrainState[], string[]] = [[], [], []];
      const callbacks: TrainCallbacks = {
        evaluate: () => evaluateLoss(decoder, examples, 4),
        onStep: ({ loss, grad_norm }) => void logs.push([loss, grad_norm]),
        onEvaluate: ({ eval_loss }) => void logs.push(eval_loss),
        onCheckpoint: (state) => void states.push(state),
        onDebug: (reason) => void refusals.push(reason),
      };
      await train({ decoder, adapter, examples, options: training, callbacks, resume });
      const values = await Promise.all(
        adapter.parameters.map(async ({ variable }) => Array.from(await valuesOf(variable))),
      );
      adapter.dispose();
      decoder.dispose();
      return { logs, values, states, refusals };
    };
    const [eager, replayed] = [await run(false), await run(true)];
    expect(replayed.refusals).toEqual([]);
    expect([replayed.logs, replayed.values]).toEqual([eager.logs, eager.values]);
    expect(replayed.states.map(({ optimizer, values }) => ({ optimizer, values }))).toEqual(
      eager.states.map(({ optimizer, values }) => ({ optimizer, values })),
    );
    const rest = await run(true, replayed.states[0]);
    expect(rest.values).toEqual(eager.values);
  });

  it.each(SETUPS)('give the numbers of others to the bit: %s', async (_, setup) => {
    const eager = await trained(setup, 'eager');
    const replayed = await trained(setup, 'replayed');
    expect(replayed.refusals).toEqual([]);
    expect(replayed.replayed).toBeGreaterThan(0);
    expect([replayed.reports, replayed.values, replayed.state]).toEqual([eager.reports, eager.values, eager.state]);
    expect(replayed.left).toEqual(eager.left);
    expect(replayed.left[0]).toBe(0);
  });
});
