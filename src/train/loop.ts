import * as tf from '@tensorflow/tfjs-core';
import type { AdapterParameter } from '../adapters/adapter.js';
import { collate, type Batch } from '../data/collate.js';
import { takeExamples } from '../data/examples.js';
import { BatchSampler, type SamplerState } from '../data/sampler.js';
import { ConfigError, TrainingError } from '../errors.js';
import { assignValues, valuesOf } from '../model/variable.js';
import { Random } from '../random.js';
import { BestEvaluation } from './best-evaluation.js';
import type { GradientAccumulator } from './gradients/accumulator.js';
import { createAccumulator } from './gradients/create.js';
import { LossTrend } from './loss-trend.js';
import { round, Tally, type EvalMetrics } from './metrics.js';
import type { Objective, ObjectiveContext } from './objectives/objective.js';
import { OBJECTIVES } from './objectives/registry.js';
import type { Optimizer } from './optimizers/optimizer.js';
import { createOptimizer } from './optimizers/registry.js';
import { decays } from './optimizers/weight-decay.js';
import { PendingReports, type BatchedStepReport } from './reports.js';
import type { TrainCallbacks, TrainRequest, TrainResult } from './request.js';
import type { TrainState } from './run-state.js';
import { DEFAULT_SAVE_STEPS, learningRateFactor, stepsPerEpoch, totalStepsOf, warmupStepsOf } from './schedule.js';
import { applyGradients, lossAndGradientsUnless, macrotask } from './step.js';

/**
 * Trains the adapter's parameters; nothing else of the decoder changes.
 * @throws TrainingError at a loss or gradient that is not finite, naming the step and the rows of its batch;
 * ConfigError for a state of other data.
 */
export async function train(request: TrainRequest): Promise<TrainResult> {
  const loop = new TrainingLoop(request);
  try {
    return await loop.complete();
  } finally {
    loop.dispose();
  }
}

class TrainingLoop {
  private readonly totalSteps: number;
  private readonly warmupSteps: number;
  private readonly sampler: BatchSampler;
  private readonly variables: readonly tf.Variable[];
  private readonly objective: Objective;
  private readonly optimizer: Optimizer;
  private readonly accumulator: GradientAccumulator;
  /** Undefined keeps activations for the backward pass. */
  private readonly gradientCheckpointing: readonly (readonly tf.Tensor[])[] | undefined;
  /** Reading a result back stalls a GPU: there the reports of several steps are read together. */
  private readonly readEvery: number;
  private readonly tally = new Tally();
  private readonly trend = new LossTrend();
  private readonly best: BestEvaluation;
  private readonly reports: PendingReports;
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
      this.gradientCheckpointing = layerParameters;
    }
    this.objective = request.objective ?? OBJECTIVES[options.objective];
    this.reports = new PendingReports(this.objective.metrics);
    this.optimizer = createOptimizer(options.optim, this.variables, options, {
      learningRateScales: adapter.parameters.map((p) => scaleOf(p, options.learning_rate)),
      spared: adapter.parameters.map((p) => !decays(p)),
    });
    this.accumulator = createAccumulator(request.decoder, this.variables, this.objective, this.optimizer, (reason) =>
      request.callbacks?.onDebug?.(`steps of this shape are not replayed yet: ${reason}`),
    );
    this.readEvery = tf.getBackend() === 'webgpu' ? options.logging_steps : 1;
    this.best = new BestEvaluation(options);
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
      warning: this.trend.warning(this.objective.isCrossEntropy ? this.request.decoder.vocabSize : undefined),
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
    const lossOptions = (k: number): ObjectiveContext => ({
      dropoutSeed: new Random(options.seed, `dropout/${step}/${k}`).uint32(),
      ...(this.gradientCheckpointing === undefined ? {} : { gradientCheckpointing: this.gradientCheckpointing }),
    });
    const stops = callbacks?.shouldStop === undefined ? undefined : (): boolean => this.shouldStop();
    const sum = await lossAndGradientsUnless(stops, this.accumulator, batches, lossOptions);
    if (sum === undefined) {
      this.sampler.restore(place);
      return false;
    }
    const report = await applyGradients(this.optimizer, this.accumulator, sum, {
      learningRate,
      maxGradNorm: options.max_grad_norm,
    });
    this.tokens += batches.reduce((total, b) => total + b.tokenCount, 0);
    this.reports.add({
      step,
      epoch: this.epoch(),
      learningRate,
      rows: batches.flatMap((b) => b.rows),
      tokens: this.tokens,
      values: report,
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

  /** Reads the reports of the steps since the last call, and hands them to the callbacks. */
  private async settle(): Promise<void> {
    for (const report of await this.reports.read()) await this.reportStep(report);
  }

  private async reportStep({ rows, ...report }: BatchedStepReport): Promise<void> {
    const { options, callbacks } = this.request;
    const { step, tokens, loss, gradNorm } = report;
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
      const what = Number.isFinite(loss) ? `the gradient norm is ${gradNorm}` : `the loss is ${loss}`;
      const kept = this.saved === undefined ? 'Nothing was saved' : `The checkpoint of step ${this.saved} remains`;
      throw new TrainingError(
        `step ${step}: ${what}; the batch holds the rows ${rows.join(', ')}. ${kept}. A lower learning_rate or max_grad_norm may help.`,
      );
    }
    this.trend.add(loss, gradNorm);
    const metrics = this.tally.add(report, tf.memory().numBytes);
    callbacks?.onStep?.(metrics);
    if (step % options.logging_steps === 0 || step === this.totalSteps) {
      await callbacks?.onLog?.(metrics);
      this.tally.logged(tokens);
    }
  }

  /** @returns whether the run shall stop. */
  private async validate(step: number): Promise<boolean> {
    const { callbacks } = this.request;
    const {
      loss,
      perplexity,
      metrics: values,
    } = await this.tally.pausing(callbacks?.evaluate as NonNullable<TrainCallbacks['evaluate']>);
    const metrics: EvalMetrics = {
      step,
      epoch: round(this.epoch(), 4),
      eval_loss: loss,
      ...(perplexity === undefined ? {} : { perplexity }),
      ...(values === undefined ? {} : { metrics: values }),
    };
    await callbacks?.onEvaluate?.(metrics);
    await this.best.consider(metrics, () => this.values());
    return this.best.stopsEarly;
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
      learning: this.trend.state(),
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
    if (state.learning !== undefined) this.trend.restore(state.learning);
    this.step = state.step;
    this.saved = state.step;
    this.tokens = state.tokens;
    this.stoppedEarly = this.best.stopsEarly;
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
    this.reports.dispose();
    this.accumulator.dispose();
    this.optimizer.dispose();
  }
}

/** Factor on the learning rate of the run. */
function scaleOf({ learningRate, learningRateScale }: AdapterParameter, ofRun: number): number {
  return learningRate === undefined ? (learningRateScale ?? 1) : learningRate / ofRun;
}
