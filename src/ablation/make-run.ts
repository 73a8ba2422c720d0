import { ADAPTER_WEIGHTS } from '../adapters/peft/files.js';
import { evaluateLoss } from '../eval/loss.js';
import { finetuneOn } from '../finetune/finetune.js';
import { readModelConfig } from '../model/load.js';
import { RECORD_FILE } from '../record/record.js';
import { hashRequest, withTokenizer } from '../finetune/load.js';
import type { FinetuneCallbacks, CheckedRequest, FinetuneResult, TrainedModel } from '../finetune/request.js';
import type { SharedResources } from '../finetune/shared-resources.js';
import type { EvalMetrics, StepMetrics } from '../train/metrics.js';
import { OBJECTIVES } from '../train/objectives/registry.js';
import { plannedBytes } from './estimate.js';
import { forgettingOf, type Evaluation, type Measurement } from './evaluation.js';
import type { AblationCallbacks } from './request.js';
import type { Baseline, FinishedRun, RunResult } from './result.js';
import type { AblationRun } from './runs.js';
import type { RunStore } from './store.js';

export interface MakeRequest {
  readonly run: AblationRun;
  readonly request: CheckedRequest;
  readonly output: RunStore;
  readonly shared: SharedResources;
  readonly baseline: Baseline | undefined;
  readonly evaluation: Evaluation | undefined;
  readonly onNote: (note: string) => void;
  readonly callbacks: AblationCallbacks;
}

/** What a trained model was measured to be. */
interface Measured extends Measurement {
  readonly loss: number;
  readonly seconds: number;
}

/** Trains, measures and saves a run. @returns undefined when it was stopped. */
export async function makeRun({
  run,
  request,
  output,
  shared,
  baseline,
  evaluation,
  onNote,
  callbacks,
}: MakeRequest): Promise<FinishedRun | undefined> {
  const { shouldStop, onStep, onEvaluate, onRun } = callbacks;
  let rows = 0;
  let last: EvalMetrics | undefined;
  let measured: Measured | undefined;
  const runCallbacks: FinetuneCallbacks = {
    onData: ({ train }) => (rows = train.stats.rows),
    onDisk: (needs) => output.requireSpace?.(needs),
    onReady: async ({ totalSteps, doneSteps }) => {
      await output.begin(doneSteps);
      onRun?.(run, { totalSteps, doneSteps });
    },
    onStep: (metrics) => onStep?.(run, metrics),
    onLog: (metrics) => output.append(metrics),
    onEvaluate: async (metrics) => {
      last = metrics;
      onEvaluate?.(run, metrics);
      await output.append(metrics);
    },
    onTest: async ({ loss, perplexity }) => output.append({ test_loss: loss, test_perplexity: perplexity }),
    onCheckpoint: (files, info) => output.save(files, info),
    onTrained: async (trained) => {
      const started = performance.now();
      const loss = await validationLoss(run, trained, last);
      const measurement =
        evaluation === undefined
          ? { metrics: {}, answers: [] }
          : await evaluation.evaluate(trained.decoder, trained.tokenizer, shouldStop);
      if (measurement !== undefined) measured = { loss, ...measurement, seconds: (performance.now() - started) / 1000 };
    },
    onNote,
    ...(shouldStop === undefined ? {} : { shouldStop }),
  };
  const made = await finetuneOn(shared, { ...request, resume: output.resume, callbacks: runCallbacks });
  // All is done where the stop came while the last files were made; else a checkpoint of the last step waits for the
  // next call.
  if (measured === undefined || made.files[RECORD_FILE] === undefined) return undefined;
  const { seconds, tokens } = made.training;
  const timings = {
    seconds,
    tokens_per_second: tokens / Math.max(seconds, 1e-6),
    evaluation_seconds: measured.seconds,
  };
  const peak = await plannedBytes(await withTokenizer(request), await readModelConfig(request.model), shared);
  const result: RunResult = {
    ...whatItWas(run, shared),
    files: await hashRequest(request, shared),
    evaluation: evaluation?.hash ?? '',
    ...whatItCameTo(made, measured),
    train_rows: rows,
    forgetting: forgettingOf(
      measured.metrics,
      baseline?.metrics ?? {},
      evaluation?.retained ?? new Map<string, boolean>(),
    ),
    ...(peak === undefined ? {} : { peak_memory_bytes: peak }),
    ...curvesOf(await output.log()),
  };
  await output.finish(made.files, result, timings);
  return { result, timings };
}

/** Of the model as it is saved. The last validation has it already where nothing was trained since. */
async function validationLoss(
  { config }: AblationRun,
  { decoder, data, training }: TrainedModel,
  last: EvalMetrics | undefined,
): Promise<number> {
  if (config.training.load_best_model_at_end && training.best !== undefined) return training.best.eval_loss;
  if (last?.step === training.steps) return last.eval_loss;
  return data.validation === undefined
    ? NaN
    : (
        await evaluateLoss(
          decoder,
          data.validation.examples,
          config.training.per_device_eval_batch_size,
          OBJECTIVES[config.training.objective],
        )
      ).loss;
}

function whatItWas(
  run: AblationRun,
  { device }: SharedResources,
): Pick<RunResult, 'format' | 'id' | 'settings' | 'seed' | 'config' | 'backend'> {
  return {
    format: 1,
    id: run.id,
    settings: { ...run.settings },
    seed: run.seed,
    config: JSON.parse(JSON.stringify(run.config)) as Record<string, unknown>,
    backend: device.backend,
  };
}

function whatItCameTo({ training, counts, test, files }: FinetuneResult, { loss, metrics, answers }: Measured) {
  return {
    validation_loss: loss,
    train_loss: training.trainLoss,
    ...(test === undefined ? {} : { test_loss: test.loss }),
    steps: training.steps,
    total_steps: training.totalSteps,
    stopped_early: training.stoppedEarly,
    tokens: training.tokens,
    metrics: { ...metrics },
    answers: [...answers],
    trainable_parameters: counts.trainable,
    adapter_bytes: bytesOf(files),
  } satisfies Partial<RunResult>;
}

/** Bytes of the trained tensors as they are saved. */
function bytesOf(files: Readonly<Record<string, Uint8Array | string>>): number {
  const weights = Object.entries(files).filter(
    ([name]) => name === ADAPTER_WEIGHTS || (files[ADAPTER_WEIGHTS] === undefined && name.endsWith('.safetensors')),
  );
  return weights.reduce((sum, [, content]) => sum + content.length, 0);
}

/** What the log says of the course of a run, without what a clock or the neighbours on the device have in it. */
function curvesOf(log: readonly unknown[]): Pick<RunResult, 'losses' | 'validation'> {
  const lines = log as readonly Partial<StepMetrics & EvalMetrics>[];
  return {
    losses: lines.flatMap(({ step, loss, learning_rate, grad_norm }) =>
      step === undefined || loss === undefined || learning_rate === undefined || grad_norm === undefined
        ? []
        : [{ step, loss, learning_rate, grad_norm }],
    ),
    validation: lines.flatMap(({ step, eval_loss }) =>
      step === undefined || eval_loss === undefined ? [] : [{ step, eval_loss }],
    ),
  };
}
