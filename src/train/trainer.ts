import * as tf from '@tensorflow/tfjs-core';
import type { Adapter } from '../adapters/adapter.js';
import type { RunConfig } from '../config/schema.js';
import { collate, type Batch } from '../data/collate.js';
import { takeExamples, type Examples } from '../data/examples.js';
import { BatchSampler } from '../data/sampler.js';
import { ConfigError, TrainingError } from '../errors.js';
import type { Decoder } from '../model/decoder.js';
import { Random } from '../random.js';
import { OPTIMIZERS, type Optimizer } from './optimizer.js';
import { learningRateFactor, warmupStepsOf } from './schedule.js';
import { trainStep } from './step.js';

/** A logged optimiser step, as one line of metrics.jsonl. */
export interface StepMetrics {
  /** Counted from 1. */
  readonly step: number;
  /** Passes over the data so far, with fractions. */
  readonly epoch: number;
  /** Mean loss per supervised token since the last logged step, in nats. */
  readonly loss: number;
  /** Rate this step was made with. */
  readonly learning_rate: number;
  /** Global norm of the gradients before clipping. */
  readonly grad_norm: number;
  /** Tokens seen so far, padding left out. */
  readonly tokens: number;
  readonly tokens_per_second: number;
  /** Bytes of tensors on the device between two steps. */
  readonly memory_bytes: number;
}

/** A validation, as one line of metrics.jsonl. */
export interface EvalMetrics {
  readonly step: number;
  readonly epoch: number;
  readonly eval_loss: number;
  readonly perplexity: number;
}

export interface TrainCallbacks {
  /** Mean loss on the validation rows. Without it there is no validation. */
  readonly evaluate?: () => Promise<{ loss: number; perplexity: number }>;
  readonly onStep?: (metrics: StepMetrics) => void;
  /** Every `logging_steps` steps, and at the last. */
  readonly onLog?: (metrics: StepMetrics) => void | Promise<void>;
  readonly onEvaluate?: (metrics: EvalMetrics) => void | Promise<void>;
  /** Asked between two steps: true ends the run as if it were complete. */
  readonly shouldStop?: () => boolean;
}

export interface TrainResult {
  readonly steps: number;
  readonly totalSteps: number;
  /** Mean training loss over all steps. */
  readonly trainLoss: number;
  readonly tokens: number;
  readonly seconds: number;
  readonly best: EvalMetrics | undefined;
  readonly stoppedEarly: boolean;
}

export interface TrainRequest {
  readonly decoder: Decoder;
  readonly adapter: Pick<Adapter, 'parameters'> & Partial<Pick<Adapter, 'layerParameters'>>;
  readonly examples: Examples;
  readonly options: RunConfig['training'];
  readonly shuffle?: boolean;
  readonly callbacks?: TrainCallbacks;
}

/** Optimiser steps of one epoch: micro-batches are grouped within the epoch, and its last group may be smaller. */
export function stepsPerEpoch(exampleCount: number, batchSize: number, accumulation: number): number {
  return Math.ceil(Math.ceil(exampleCount / batchSize) / accumulation);
}

/** Optimiser steps of a run. */
export function totalStepsOf(exampleCount: number, options: RunConfig['training']): number {
  if (options.max_steps > 0) return options.max_steps;
  const perEpoch = stepsPerEpoch(exampleCount, options.per_device_train_batch_size, options.gradient_accumulation_steps);
  return Math.max(1, Math.ceil(perEpoch * options.num_train_epochs));
}

interface Pending {
  readonly step: number;
  readonly epoch: number;
  readonly learningRate: number;
  readonly rows: readonly number[];
  readonly tokens: number;
  readonly report: tf.Tensor1D;
}

/**
 * Trains the adapter's parameters with AdamW; nothing else of the decoder changes.
 * @throws TrainingError at a loss or gradient that is not finite, naming the step and the rows of its batch.
 */
export async function train(request: TrainRequest): Promise<TrainResult> {
  const run = new Run(request);
  try {
    return await run.complete();
  } finally {
    run.dispose();
  }
}

class Run {
  private readonly totalSteps: number;
  private readonly warmupSteps: number;
  private readonly sampler: BatchSampler;
  private readonly variables: readonly tf.Variable[];
  private readonly optimizer: Optimizer;
  /** Undefined keeps activations for the backward pass. */
  private readonly checkpointParameters: readonly (readonly tf.Tensor[])[] | undefined;
  /** Reading a result back stalls a GPU: there the reports of several steps are read together. */
  private readonly readEvery: number;
  private pending: Pending[] = [];
  private tokens = 0;
  private lossTotal = 0;
  private sinceLog = { loss: 0, steps: 0, tokens: 0, from: performance.now() };
  private best: { metrics: EvalMetrics; values: Float32Array[] } | undefined;
  private evaluationsWithoutGain = 0;

  constructor(private readonly request: TrainRequest) {
    const { examples, options, adapter } = request;
    this.totalSteps = totalStepsOf(examples.length, options);
    this.warmupSteps = warmupStepsOf(options, this.totalSteps);
    this.sampler = new BatchSampler({
      count: examples.length,
      batchSize: options.per_device_train_batch_size,
      seed: options.seed,
      shuffle: request.shuffle ?? true,
    });
    this.variables = adapter.parameters.map((p) => p.variable);
    if (options.gradient_checkpointing) {
      const { layerParameters } = adapter;
      if (layerParameters === undefined) throw new ConfigError('training.gradient_checkpointing needs an adapter that tells which layer its parameters belong to');
      this.checkpointParameters = layerParameters;
    }
    this.optimizer = OPTIMIZERS[options.optim](this.variables, options);
    this.readEvery = tf.getBackend() === 'webgpu' ? options.logging_steps : 1;
  }

  async complete(): Promise<TrainResult> {
    const { options, callbacks } = this.request;
    const started = performance.now();
    const perEpoch = stepsPerEpoch(this.request.examples.length, options.per_device_train_batch_size, options.gradient_accumulation_steps);
    const evalEvery = options.eval_steps ?? perEpoch;
    let step = 0;
    let stoppedEarly = false;
    while (step < this.totalSteps && !stoppedEarly && callbacks?.shouldStop?.() !== true) {
      await this.runStep(++step);
      const last = step === this.totalSteps;
      if (step % this.readEvery === 0 || step % evalEvery === 0 || last) await this.settle();
      if (callbacks?.evaluate !== undefined && (step % evalEvery === 0 || last)) stoppedEarly = await this.validate(step);
      // A macrotask between steps lets signals and timers in.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await this.settle();
    if (this.best !== undefined && options.load_best_model_at_end) this.restore(this.best.values);
    return {
      steps: step,
      totalSteps: this.totalSteps,
      trainLoss: this.lossTotal / Math.max(1, step),
      tokens: this.tokens,
      seconds: (performance.now() - started) / 1000,
      best: this.best?.metrics,
      stoppedEarly,
    };
  }

  private async runStep(step: number): Promise<void> {
    const { decoder, options } = this.request;
    const batches = await this.nextBatches();
    const learningRate = options.learning_rate * learningRateFactor(options.lr_scheduler_type, step - 1, this.warmupSteps, this.totalSteps);
    const report = await trainStep(decoder, this.optimizer, this.variables, batches, {
      learningRate,
      maxGradNorm: options.max_grad_norm,
      lossOptions: (k) => ({
        dropoutSeed: new Random(options.seed, `dropout/${step}/${k}`).uint32(),
        ...(this.checkpointParameters === undefined ? {} : { checkpointParameters: this.checkpointParameters }),
      }),
    });
    this.tokens += batches.reduce((sum, b) => sum + b.tokenCount, 0);
    this.pending.push({ step, epoch: this.epoch(), learningRate, rows: batches.flatMap((b) => b.rows), tokens: this.tokens, report });
  }

  /** The micro-batches of the next step. A group never reaches over the end of an epoch. */
  private async nextBatches(): Promise<Batch[]> {
    const { examples, options } = this.request;
    const epoch = this.sampler.epoch;
    const batches: Batch[] = [];
    while (batches.length < options.gradient_accumulation_steps && this.sampler.epoch === epoch) {
      batches.push(collate(await takeExamples(examples, this.sampler.next())));
    }
    return batches;
  }

  private epoch(): number {
    return this.sampler.epoch + this.sampler.position / this.sampler.count;
  }

  /** Reads what the steps since the last call reported, and hands it on. */
  private async settle(): Promise<void> {
    const pending = this.pending;
    this.pending = [];
    if (pending.length === 0) return;
    const stacked = tf.tidy(() => tf.concat(pending.map((p) => p.report)));
    tf.dispose(pending.map((p) => p.report));
    const values = await stacked.data();
    stacked.dispose();
    for (const [i, entry] of pending.entries()) await this.reportStep(entry, values[2 * i] as number, values[2 * i + 1] as number);
  }

  private async reportStep(entry: Pending, loss: number, gradNorm: number): Promise<void> {
    const { options, callbacks } = this.request;
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
      const what = Number.isFinite(loss) ? `the gradient norm is ${gradNorm}` : `the loss is ${loss}`;
      throw new TrainingError(`step ${entry.step}: ${what}; the batch holds the rows ${entry.rows.join(', ')}. Nothing was saved. A lower learning_rate or max_grad_norm may help.`);
    }
    this.lossTotal += loss;
    this.sinceLog.loss += loss;
    this.sinceLog.steps++;
    const seconds = (performance.now() - this.sinceLog.from) / 1000;
    const metrics: StepMetrics = {
      step: entry.step,
      epoch: round(entry.epoch, 4),
      loss: this.sinceLog.loss / this.sinceLog.steps,
      learning_rate: entry.learningRate,
      grad_norm: gradNorm,
      tokens: entry.tokens,
      tokens_per_second: round((entry.tokens - this.sinceLog.tokens) / Math.max(seconds, 1e-6), 1),
      memory_bytes: tf.memory().numBytes,
    };
    callbacks?.onStep?.(metrics);
    if (entry.step % options.logging_steps === 0 || entry.step === this.totalSteps) {
      await callbacks?.onLog?.(metrics);
      this.sinceLog = { loss: 0, steps: 0, tokens: entry.tokens, from: performance.now() };
    }
  }

  /** @returns whether the run shall stop. */
  private async validate(step: number): Promise<boolean> {
    const { options, callbacks } = this.request;
    const before = performance.now();
    const { loss, perplexity } = await (callbacks?.evaluate as NonNullable<TrainCallbacks['evaluate']>)();
    this.sinceLog.from += performance.now() - before;
    const metrics: EvalMetrics = { step, epoch: round(this.epoch(), 4), eval_loss: loss, perplexity };
    await callbacks?.onEvaluate?.(metrics);
    const bar = this.best?.metrics.eval_loss ?? Infinity;
    // The threshold is for giving up; the best adapter is the best, by however little.
    this.evaluationsWithoutGain = loss < bar - options.early_stopping_threshold ? 0 : this.evaluationsWithoutGain + 1;
    if (loss < bar) {
      this.best = { metrics, values: await Promise.all(this.variables.map((v) => v.data<'float32'>())).then((all) => all.map((v) => v.slice())) };
    }
    return options.early_stopping_patience !== undefined && this.evaluationsWithoutGain >= options.early_stopping_patience;
  }

  private restore(values: readonly Float32Array[]): void {
    this.variables.forEach((variable, i) => {
      const tensor = tf.tensor(values[i] as Float32Array, variable.shape);
      variable.assign(tensor);
      tensor.dispose();
    });
  }

  dispose(): void {
    tf.dispose(this.pending.map((p) => p.report));
    this.optimizer.dispose();
  }
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
