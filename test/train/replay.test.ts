import * as tf from '@tensorflow/tfjs-core';
import { afterEach, expect, it } from 'vitest';
import { setReplay } from '../../kernels/index.js';
import { definitionOf } from '../../src/adapters/registry.js';
import { loadConfig } from '../../src/config/load.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { loadModel, readModelConfig } from '../../src/model/load.js';
import { valuesOf } from '../../src/model/variable.js';
import { Random } from '../../src/random.js';
import { AdamW, OPTIMIZERS, type OptimizerState } from '../../src/train/optimizer.js';
import { FlatPass, passFor, PlainPass } from '../../src/train/pass.js';
import { applyGradients, lossAndGradientsUnless, type MicroBatch } from '../../src/train/step.js';
import { describeBackends } from '../support/backends.js';
import { modelFiles, TINY_CONFIG } from '../support/tiny-model.js';

interface Setup {
  readonly adapter?: Readonly<Record<string, unknown>>;
  readonly nf4?: boolean;
  readonly checkpointing?: boolean;
  readonly accumulation?: number;
  readonly packed?: boolean;
  readonly optim?: 'adamw' | 'paged_adamw';
}

/** `apart`: a tensor a gradient and a moment. `eager`: flat ones. */
type Way = 'apart' | 'eager' | 'replayed';

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

/** Rows of random tokens, of which a few are not learnt: always the same number. */
function microBatch(step: number, k: number, packed: boolean): MicroBatch {
  const seq = LENGTHS[step % LENGTHS.length] as number;
  const random = new Random(7, `rows/${step}/${k}`);
  const inputIds = Int32Array.from({ length: 2 * seq }, () => random.below(TINY_CONFIG.vocab_size));
  const labels = inputIds.slice();
  labels[1 + random.below(seq - 1)] = -100;
  const second = 2 + random.below(2);
  const starts = packed ? { starts: Int32Array.from({ length: 2 * seq }, (_, i) => (i % seq < second ? 0 : second)) } : {};
  return { inputIds, labels, batch: 2, seq, supervisedCount: 2 * (seq - 1) - 1, ...starts };
}

const usedBuffers = (): number => (tf.backend() as unknown as { bufferManager: { getNumUsedBuffers(): number } }).bufferManager.getNumUsedBuffers();

async function trained(setup: Setup, way: Way, resume?: { values: number[][]; state: OptimizerState }, from = 0, to = STEPS): Promise<Outcome> {
  setReplay(way === 'replayed');
  const { accumulation = 1, checkpointing = false, packed = false, optim = 'adamw' } = setup;
  const text = JSON.stringify({ model: './m', data: { train: './t.jsonl' }, adapter: { r: 4, ...setup.adapter }, training: { output_dir: './o', learning_rate: 0.01 } });
  const { adapter: options, training } = loadConfig(text, 'test.json');
  const definition = definitionOf(options.method);
  const directory = memoryDirectory('tiny', modelFiles({ ...TINY_CONFIG, hidden_size: 64, intermediate_size: 96 }));
  const settings = options as Parameters<typeof definition.create>[1];
  const trainable = definition.trainable?.(await readModelConfig(directory), settings);
  const decoder = await loadModel(directory, { ...(setup.nf4 === true ? { quantization: { quantType: 'nf4' } } : {}), ...(trainable === undefined ? {} : { trainable }) });
  const adapter = definition.create(decoder, settings, 1);
  await adapter.initialize?.(undefined);
  const before = { tensors: tf.memory().numTensors, buffers: usedBuffers() };
  const parameters = adapter.parameters.map((p) => p.variable);
  const scales = adapter.parameters.map((p) => p.learningRateScale ?? 1);
  const optimizer = way === 'apart' ? new AdamW(parameters, training, scales) : OPTIMIZERS[optim](parameters, training, scales);
  const refusals: string[] = [];
  const pass = way === 'apart' ? new PlainPass(decoder, parameters) : passFor(decoder, parameters, optimizer, (reason) => refusals.push(reason));
  if (resume !== undefined) {
    optimizer.restore(resume.state);
    parameters.forEach((parameter, i) => tf.tidy(() => parameter.assign(tf.tensor(resume.values[i] as number[], parameter.shape))));
  }
  const reports: number[][] = [];
  for (let step = from; step < to; step++) {
    const batches = Array.from({ length: accumulation }, (_, k) => microBatch(step, k, packed));
    const lossOptions = (k: number): object => ({ dropoutSeed: 1000 * step + k, ...(checkpointing ? { checkpointParameters: adapter.layerParameters } : {}) });
    const sum = await lossAndGradientsUnless(undefined, pass, batches, lossOptions);
    const report = await applyGradients(optimizer, pass, sum as NonNullable<typeof sum>, { learningRate: 0.01 / (step + 1), maxGradNorm: 0.5 });
    reports.push(Array.from(await report.data()));
    report.dispose();
  }
  const state = await optimizer.state();
  const values = await Promise.all(parameters.map(async (p) => Array.from(await valuesOf(p))));
  const replayed = pass instanceof FlatPass ? pass.replayed : 0;
  pass.dispose();
  optimizer.dispose();
  // What was given up waits for a submit.
  const marker = tf.tidy(() => tf.add(1, 1));
  await marker.data();
  marker.dispose();
  const left: [number, number] = [tf.memory().numTensors - before.tensors, usedBuffers() - before.buffers];
  adapter.dispose();
  decoder.dispose();
  return { reports, values, state, replayed, refusals, left };
}

describeBackends('steps that are replayed', ['webgpu'], () => {
  afterEach(() => {
    setReplay(true);
  });

  const SETUPS: [string, Setup][] = [
    ['LoRA', {}],
    ['two micro-batches a step', { adapter: { lora_dropout: 0.2 }, accumulation: 2 }],
    ['NF4, checkpointing, LoRA+', { adapter: { lora_dropout: 0.2, loraplus_lr_ratio: 4 }, nf4: true, checkpointing: true }],
    ['packed rows', { packed: true }],
    ['DoRA with dropout', { adapter: { use_dora: true, lora_dropout: 0.2 } }],
    ['head, embedding, whole modules, tokens', { adapter: { target_modules: ['q_proj', 'embed_tokens', 'lm_head'], lora_dropout: 0.2 } }],
    ['trained tokens', { adapter: { trainable_token_indices: [3, 5] } }],
    ['modules trained whole', { adapter: { modules_to_save: ['norm', 'lm_head'] } }],
    ['a trained prompt', { adapter: { method: 'prompt_tuning' } }],
    ['bottlenecks', { adapter: { method: 'bottleneck' }, checkpointing: true }],
    ['layers', { adapter: { method: 'layers' } }],
    ['full', { adapter: { method: 'full' } }],
    ['moments in host memory', { optim: 'paged_adamw', accumulation: 2 }],
  ];

  it.each(SETUPS)('give the numbers of others to the bit: %s', async (_, setup) => {
    const apart = await trained(setup, 'apart');
    const eager = await trained(setup, 'eager');
    const replayed = await trained(setup, 'replayed');
    expect(replayed.refusals).toEqual([]);
    expect(replayed.replayed).toBeGreaterThan(0);
    for (const other of [eager, replayed]) {
      expect(other.reports).toEqual(apart.reports);
      expect(other.values).toEqual(apart.values);
      expect(other.state).toEqual(apart.state);
    }
    expect(eager.left).toEqual([0, 0]);
    expect(replayed.left).toEqual([0, 0]);
  });
});
