import * as tf from '@tensorflow/tfjs-core';
import type { Adapter, AdapterParameter } from '../adapters/adapter.js';
import type { RunConfig } from '../config/schema.js';
import { collate, type Batch } from '../data/collate.js';
import { takeExamples, type Examples } from '../data/examples.js';
import type { MixPart } from '../data/mix.js';
import { BatchSampler, type SamplerState } from '../data/sampler.js';
import { ConfigError, TrainingError } from '../errors.js';
import type { Decoder } from '../model/decoder.js';
import type { LossOptions } from '../model/loss.js';
import { assignValues, valuesOf } from '../model/variable.js';
import { Random } from '../random.js';
import { Best } from './best.js';
import { Learning } from './learning.js';
import { decays } from './decay.js';
import { round, Tally, type EvalMetrics, type StepMetrics, type StepReport } from './metrics.js';
import { OPTIMIZERS, type Optimizer } from './optimizer.js';
import { passFor, type Pass } from './pass.js';
import { learningRateFactor, warmupStepsOf } from './schedule.js';
import type { TrainState } from './state.js';
import { applyGradients, lossAndGradientsUnless, macrotask } from './step.js';

export type { EvalMetrics, StepMetrics } from './metrics.js';

export interface TrainCallbacks {
  /** Mean loss on the validation rows. Without it there is no validation. */
  readonly evaluate?: () => Promise<{ loss: number; perplexity: number }>;
  readonly onStep?: (metrics: StepMetrics) => void;
  /** What only somebody who looks into speed wants to know. */
  readonly onDebug?: ((text: string) => void) | undefined;
  /** Every `logging_steps` steps, and at the last. */
  readonly onLog?: (metrics: StepMetrics) => void | Promise<void>;
  readonly onEvaluate?: (metrics: EvalMetrics) => void | Promise<void>;
  /**
   * Takes the state of the run, for going on from it: as `save_strategy` has it, after the last step, and when
   * `shouldStop` ends the run. Comes after the log and the validation of its step. The arrays are the callee's.
   */
  readonly onCheckpoint?: (state: TrainState) => void | Promise<void>;
  /** Asked between two micro-batches: true ends the run with the steps so far. */
  readonly shouldStop?: () => boolean;
  /**
   * Comes after the last step, with the result in the parameters and its numbers; where `shouldStop` ends the run
   * meanwhile, its state is handed out all the same.
   */
  readonly onEnd?: (result: TrainResult) => Promise<void>;
}

export interface TrainResult {
  /** Those before the checkpoint that a run went on from are counted in, as in all other sums. */
  readonly steps: number;
  readonly totalSteps: number;
  /** Mean training loss over all steps. */
  readonly trainLoss: number;
  readonly tokens: number;
  readonly seconds: number;
  readonly best: EvalMetrics | undefined;
  readonly stoppedEarly: boolean;
  /** Why the run looks as if it had learnt nothing, and what to try; undefined where it does not. */
  readonly warning: string | undefined;
}

export interface TrainRequest {
  readonly decoder: Decoder;
  readonly adapter: Pick<Adapter, 'parameters'> & Partial<Pick<Adapter, 'layerParameters'>>;
  readonly examples: Examples;
  /** Parts of the examples that are drawn by weight. */
  readonly mix?: readonly MixPart[] | undefined;
  readonly options: RunConfig['training'];
  readonly shuffle?: boolean;
  /** Goes on from here, with the numbers of a run that was never interrupted. */
  readonly resume?: TrainState | undefined;
  /** With `resume`: goes on over data of another size or mix too, at the beginning of the epoch. */
  readonly force?: boolean;
  readonly callbacks?: TrainCallbacks;
}

/** As in Hugging Face's TrainingArguments. */
export const DEFAULT_SAVE_STEPS = 500;

/** Optimiser steps of one epoch: micro-batches are grouped within the epoch, and its last group may be smaller. */
export function stepsPerEpoch(exampleCount: number, batchSize: number, accumulation: number): number {
  return Math.ceil(Math.ceil(exampleCount / batchSize) / accumulation);
}

/** Optimiser steps of a run. */
export function totalStepsOf(exampleCount: number, options: RunConfig['training']): number {
  if (options.max_steps > 0) return options.max_steps;
  const perEpoch = stepsPerEpoch(
    exampleCount,
    options.per_device_train_batch_size,
    options.gradient_accumulation_steps,
  );
  return Math.max(1, Math.ceil(perEpoch * options.num_train_epochs));
}

function scaleOf({ learningRate, learningRateScale }: AdapterParameter, whole: number): number {
  return learningRate === undefined ? (learningRateScale ?? 1) : learningRate / whole;
}

interface Pending extends Omit<StepReport, 'loss' | 'gradNorm'> {
  readonly rows: readonly number[];
  readonly report: tf.Tensor1D;
}

/**
 * Trains the adapter's parameters with AdamW; nothing else of the decoder changes.
 * @throws TrainingError at a loss or gradient that is not finite, naming the step and the rows of its batch;
 * ConfigError for a state of other data.
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
  private readonly pass: Pass;
  /** Undefined keeps activations for the backward pass. */
  private readonly checkpointParameters: readonly (readonly tf.Tensor[])[] | undefined;
  /** Reading a result back stalls a GPU: there the reports of several steps are read together. */
  private readonly readEvery: number;
  private readonly tally = new Tally();
  private readonly learning = new Learning();
  private readonly best: Best;
  private pending: Pending[] = [];
  private step = 0;
  private tokens = 0;
  private stoppedEarly = false;
  /** The last step that a checkpoint was made of. */
  private saved: number | undefined;

  constructor(private readonly request: TrainRequest) {
    const { examples, options, adapter } = request;
    this.totalSteps = totalStepsOf(examples.length, options);
    this.warmupSteps = warmupStepsOf(options, this.totalSteps);
    this.sampler = new BatchSampler({
      count: examples.length,
      batchSize: options.per_device_train_batch_size,
      seed: options.seed,
      shuffle: request.shuffle ?? true,
      mix: request.mix,
    });
    this.variables = adapter.parameters.map((p) => p.variable);
    if (options.gradient_checkpointing) {
      const { layerParameters } = adapter;
      if (layerParameters === undefined)
        throw new ConfigError(
          'training.gradient_checkpointing needs an adapter that tells which layer its parameters belong to',
        );
      this.checkpointParameters = layerParameters;
    }
    this.optimizer = OPTIMIZERS[options.optim](
      this.variables,
      options,
      adapter.parameters.map((p) => scaleOf(p, options.learning_rate)),
      adapter.parameters.map((p) => !decays(p)),
    );
    this.pass = passFor(request.decoder, this.variables, this.optimizer, (reason) =>
      request.callbacks?.onDebug?.(`steps of this shape are not replayed yet: ${reason}`),
    );
    this.readEvery = tf.getBackend() === 'webgpu' ? options.logging_steps : 1;
    this.best = new Best(options);
  }

  async complete(): Promise<TrainResult> {
    const { options, callbacks, resume } = this.request;
    if (resume !== undefined) this.restore(resume);
    const perEpoch = stepsPerEpoch(
      this.request.examples.length,
      options.per_device_train_batch_size,
      options.gradient_accumulation_steps,
    );
    const evalEvery = options.eval_steps ?? perEpoch;
    const evaluates = callbacks?.evaluate !== undefined;
    while (this.step < this.totalSteps && !this.stoppedEarly && !this.shouldStop()) {
      if (!(await this.runStep(this.step + 1))) break;
      const step = ++this.step;
      const last = step === this.totalSteps;
      const saves = this.savesAt(step);
      if (step % this.readEvery === 0 || step % evalEvery === 0 || last || saves) await this.settle();
      if (evaluates && (step % evalEvery === 0 || last)) this.stoppedEarly = await this.validate(step);
      if (saves || (this.stoppedEarly && options.save_strategy !== 'no')) await this.save();
      // A macrotask between steps lets signals and timers in.
      await macrotask();
    }
    await this.settle();
    // Whoever stops a run may want to go on with it.
    if (this.shouldStop() && this.step > 0) await this.save();
    const { best } = this.best;
    const result = options.load_best_model_at_end ? best?.values : undefined;
    // A stop may still come, and ask for the state of the last step.
    const last =
      result === undefined || callbacks?.onCheckpoint === undefined || this.saved === this.step
        ? undefined
        : await this.values();
    if (result !== undefined) this.assign(result);
    const done = this.result();
    await callbacks?.onEnd?.(done);
    if (this.shouldStop() && this.step > 0 && this.saved !== this.step) {
      if (last !== undefined) this.assign(last);
      await this.save();
      // The stop may have come when all was done.
      if (result !== undefined) this.assign(result);
    }
    return done;
  }

  private result(): TrainResult {
    return {
      steps: this.step,
      totalSteps: this.totalSteps,
      trainLoss: this.tally.meanLoss(this.step),
      tokens: this.tokens,
      seconds: this.tally.seconds,
      best: this.best.best?.metrics,
      stoppedEarly: this.stoppedEarly,
      warning: this.learning.warning(this.request.decoder.vocabSize),
    };
  }

  private shouldStop(): boolean {
    return this.request.callbacks?.shouldStop?.() === true;
  }

  /** Whether the schedule wants a checkpoint after this step, which has just been made. */
  private savesAt(step: number): boolean {
    const { options, callbacks } = this.request;
    if (callbacks?.onCheckpoint === undefined || options.save_strategy === 'no') return false;
    if (step === this.totalSteps) return true;
    return options.save_strategy === 'epoch'
      ? this.sampler.position === 0
      : step % (options.save_steps ?? DEFAULT_SAVE_STEPS) === 0;
  }

  /** @returns false when the step was given up on, with everything as it was before. */
  private async runStep(step: number): Promise<boolean> {
    const { options, callbacks } = this.request;
    const place = this.sampler.state();
    const batches = await this.nextBatches();
    const learningRate =
      options.learning_rate *
      learningRateFactor(options.lr_scheduler_type, step - 1, this.warmupSteps, this.totalSteps);
    const lossOptions = (k: number): LossOptions => ({
      dropoutSeed: new Random(options.seed, `dropout/${step}/${k}`).uint32(),
      ...(this.checkpointParameters === undefined ? {} : { checkpointParameters: this.checkpointParameters }),
    });
    const stops = callbacks?.shouldStop === undefined ? undefined : (): boolean => this.shouldStop();
    const sum = await lossAndGradientsUnless(stops, this.pass, batches, lossOptions);
    if (sum === undefined) {
      this.sampler.restore(place);
      return false;
    }
    const report = await applyGradients(this.optimizer, this.pass, sum, {
      learningRate,
      maxGradNorm: options.max_grad_norm,
    });
    this.tokens += batches.reduce((total, b) => total + b.tokenCount, 0);
    this.pending.push({
      step,
      epoch: this.epoch(),
      learningRate,
      rows: batches.flatMap((b) => b.rows),
      tokens: this.tokens,
      report,
    });
    return true;
  }

  /** The micro-batches of the next step. A group never reaches over the end of an epoch. */
  private async nextBatches(): Promise<Batch[]> {
    const { examples, options } = this.request;
    const epoch = this.sampler.epoch;
    const drawn = examples.forEpoch?.(epoch) ?? examples;
    const batches: Batch[] = [];
    while (batches.length < options.gradient_accumulation_steps && this.sampler.epoch === epoch) {
      batches.push(collate(await takeExamples(drawn, this.sampler.next())));
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
    for (const [i, entry] of pending.entries())
      await this.reportStep(entry, values[2 * i] as number, values[2 * i + 1] as number);
  }

  private async reportStep({ report: _, rows, ...entry }: Pending, loss: number, gradNorm: number): Promise<void> {
    const { options, callbacks } = this.request;
    const { step, tokens } = entry;
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
      const what = Number.isFinite(loss) ? `the gradient norm is ${gradNorm}` : `the loss is ${loss}`;
      const kept = this.saved === undefined ? 'Nothing was saved' : `The checkpoint of step ${this.saved} remains`;
      throw new TrainingError(
        `step ${step}: ${what}; the batch holds the rows ${rows.join(', ')}. ${kept}. A lower learning_rate or max_grad_norm may help.`,
      );
    }
    this.learning.add(loss, gradNorm);
    const metrics = this.tally.add({ ...entry, loss, gradNorm }, tf.memory().numBytes);
    callbacks?.onStep?.(metrics);
    if (step % options.logging_steps === 0 || step === this.totalSteps) {
      await callbacks?.onLog?.(metrics);
      this.tally.logged(tokens);
    }
  }

  /** @returns whether the run shall stop. */
  private async validate(step: number): Promise<boolean> {
    const { callbacks } = this.request;
    const { loss, perplexity } = await this.tally.pausing(
      callbacks?.evaluate as NonNullable<TrainCallbacks['evaluate']>,
    );
    const metrics: EvalMetrics = { step, epoch: round(this.epoch(), 4), eval_loss: loss, perplexity };
    await callbacks?.onEvaluate?.(metrics);
    await this.best.consider(metrics, () => this.values());
    return this.best.givesUp;
  }

  /** Hands the state out, unless that of this step already was. Everything is settled by now. */
  private async save(): Promise<void> {
    const { callbacks, options } = this.request;
    if (callbacks?.onCheckpoint === undefined || this.saved === this.step) return;
    const { step, totalSteps, tokens } = this;
    const { best, evaluationsWithoutGain } = this.best;
    const run = {
      step,
      totalSteps,
      seed: options.seed,
      tokens,
      sampler: this.sampler.state(),
      tally: this.tally.state(),
      learning: this.learning.state(),
    };
    const state = {
      ...run,
      best: { best, evaluationsWithoutGain },
      optimizer: await this.optimizer.state(),
      values: await this.values(),
    };
    await this.tally.pausing(async () => callbacks.onCheckpoint?.(state));
    this.saved = step;
  }

  private restore(state: TrainState): void {
    this.sampler.restore(this.placeOf(state.sampler));
    this.optimizer.restore(state.optimizer);
    this.assign(state.values);
    this.best.restore(state.best);
    this.tally.restore(state.tally);
    if (state.learning !== undefined) this.learning.restore(state.learning);
    this.step = state.step;
    this.saved = state.step;
    this.tokens = state.tokens;
    this.stoppedEarly = this.best.givesUp;
  }

  private placeOf(saved: SamplerState): SamplerState {
    const own = this.sampler.state();
    if (this.request.force !== true) return saved;
    const same = saved.count === own.count && saved.mix === own.mix;
    return { ...own, epoch: saved.epoch, position: same ? saved.position : 0 };
  }

  private values(): Promise<Float32Array[]> {
    return Promise.all(this.variables.map(valuesOf));
  }

  private assign(values: readonly Float32Array[]): void {
    this.variables.forEach((variable, i) => {
      assignValues(variable, values[i] as Float32Array);
    });
  }

  dispose(): void {
    tf.dispose(this.pending.map((p) => p.report));
    this.pass.dispose();
    this.optimizer.dispose();
  }
}
