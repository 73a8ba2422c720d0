import { ADAPTER_WEIGHTS } from '../adapters/peft-files.js';
import type { Device, Host } from '../device/device.js';
import { openDevice } from '../device/open.js';
import { ConfigError, DeviceError } from '../errors.js';
import { evaluateLoss } from '../eval/loss.js';
import { finetuneOn } from '../finetune.js';
import type { Directory } from '../io/directory.js';
import { readModelConfig } from '../model/load.js';
import { inputDifferences, inputsOf, type RunInputs } from '../resume/inputs.js';
import { hashRequest, loadBase, withTokenizer } from '../run/load.js';
import { baseKeyOf, inputsKeyOf } from '../run/options.js';
import type { FinetuneCallbacks, FinetuneRequest, RunData } from '../run/request.js';
import { SharedParts } from '../run/shared.js';
import { loadTokenizer } from '../tokenizer/tokenizer.js';
import type { EvalMetrics, StepMetrics } from '../train/trainer.js';
import { estimateRuns, plannedBytes, type RunEstimate } from './estimate.js';
import { forgettingOf, type Evaluation } from './evaluation.js';
import type { Baseline, FailedRun, FinishedRun, RunResult } from './result.js';
import { shortHash, type AblationRun } from './runs.js';
import type { AblationStore, RunState, RunStore } from './store.js';

/** What an ablation tells while it goes on. */
export interface AblationCallbacks {
  readonly onNote?: (note: string) => void;
  readonly onDevice?: (device: Device) => void;
  /** Before the first run: what there is to do, and how long it may take. */
  readonly onEstimate?: (estimates: readonly RunEstimate[]) => void;
  readonly onBaseline?: (key: string, baseline: Baseline) => void;
  /** A run that an earlier sitting has finished, or that failed then. */
  readonly onKnown?: (run: AblationRun, state: RunState) => void;
  readonly onRun?: (run: AblationRun, progress: { readonly totalSteps: number; readonly doneSteps: number }) => void;
  readonly onStep?: (run: AblationRun, metrics: StepMetrics) => void;
  readonly onEvaluate?: (run: AblationRun, metrics: EvalMetrics) => void;
  readonly onFinished?: (run: AblationRun, finished: FinishedRun, soFar: AblationState) => void | Promise<void>;
  readonly onFailed?: (run: AblationRun, error: string) => void | Promise<void>;
  /** Asked between two micro-batches: true writes a checkpoint and ends the sitting. */
  readonly shouldStop?: () => boolean;
}

/** What a run reads. */
export interface RunSources {
  readonly model: Directory;
  readonly data: RunData;
  readonly initFrom?: Directory | undefined;
}

export interface AblationRequest {
  readonly runs: readonly AblationRun[];
  readonly store: AblationStore;
  readonly host: Host;
  /** Opens what a config names; the files stay open until the ablation has ended. */
  readonly open: (run: AblationRun) => Promise<RunSources>;
  readonly evaluation?: Evaluation | undefined;
  /** Runs that failed before are made again. */
  readonly retry?: boolean;
  /**
   * Asked once, on the open device, for a way to make the runs in another place with the same store. It is called when the device is
   * closed again; undefined makes the runs here.
   */
  readonly elsewhere?: (runs: readonly AblationRun[], known: { readonly device: Device; readonly estimates: readonly RunEstimate[] }) => Promise<(() => Promise<void>) | undefined>;
  /** False leaves the measuring of steps before the first run out. */
  readonly estimate?: boolean;
  readonly callbacks?: AblationCallbacks;
}

/** How far an ablation is. Runs are in their order, whatever order they were made in. */
export interface AblationState {
  readonly finished: readonly FinishedRun[];
  readonly failed: readonly FailedRun[];
  readonly pending: readonly AblationRun[];
  readonly baselines: Readonly<Record<string, Baseline>>;
}

/**
 * Makes the runs that are not finished, one after the other on one device; those with the same base model share it. A run that fails is
 * noted and the others go on.
 * @throws ConfigError when a finished run was made of something else than it would be now; DeviceError when no device can be opened.
 */
export async function runAblation(request: AblationRequest): Promise<AblationState> {
  const sitting = new Sitting(request);
  await sitting.prepare();
  if (sitting.pending.length > 0) await sitting.complete();
  return sitting.state();
}

class Sitting {
  private readonly finished = new Map<string, FinishedRun>();
  private readonly failed = new Map<string, FailedRun>();
  private readonly baselines: Record<string, Baseline> = {};
  private readonly told = new Set<string>();
  private estimates: readonly RunEstimate[] = [];
  private readonly callbacks: AblationCallbacks;
  /** While a device is open. */
  private shared: SharedParts | undefined;

  constructor(private readonly request: AblationRequest) {
    this.callbacks = request.callbacks ?? {};
  }

  get pending(): AblationRun[] {
    return this.request.runs.filter(({ id }) => !this.finished.has(id) && !this.failed.has(id));
  }

  state(): AblationState {
    const listed = <T>(found: ReadonlyMap<string, T>): T[] => this.request.runs.flatMap(({ id }) => found.get(id) ?? []);
    return { finished: listed(this.finished), failed: listed(this.failed), pending: this.pending, baselines: this.baselines };
  }

  /** Finds what earlier sittings have done. */
  async prepare(retry = this.request.retry ?? false): Promise<void> {
    const { runs, store } = this.request;
    const problems: string[] = [];
    const hashes = new Map<string, Promise<RunInputs['files']>>();
    for (const run of runs) {
      const { finished, failed } = await store.state(run);
      if (finished !== undefined) {
        const differences = await this.differences(run, finished.result, hashes);
        problems.push(...differences.map((difference) => `run ${run.id}: ${difference}`));
        this.finished.set(run.id, finished);
        const key = baselineKey(run);
        const baseline = this.baselines[key] ?? (await store.baseline(key));
        if (baseline?.evaluation === this.evaluationHash()) this.baselines[key] = baseline;
        this.callbacks.onKnown?.(run, { finished });
      } else if (failed !== undefined && !retry) {
        this.failed.set(run.id, { id: run.id, error: failed });
        this.callbacks.onKnown?.(run, { failed });
      }
    }
    if (problems.length > 0) throw new ConfigError(`finished runs were made of something else; remove their folders, or give another output_dir:\n  ${problems.join('\n  ')}`);
  }

  async complete(): Promise<void> {
    const { pending } = this;
    // Those with one base together; else in their order.
    const bases = [...new Set(pending.map(({ config }) => JSON.stringify(config.quantization)))];
    const ordered = bases.flatMap((base) => pending.filter(({ config }) => JSON.stringify(config.quantization) === base));
    try {
      if (this.request.estimate !== false) await this.estimate(ordered);
      if (await this.madeElsewhere(ordered)) return;
      for (const run of ordered) {
        if (this.stopped()) break;
        await this.make(run);
      }
    } finally {
      await this.closeDevice();
    }
  }

  private async madeElsewhere(runs: readonly AblationRun[]): Promise<boolean> {
    const [first] = runs as readonly [AblationRun];
    if (this.request.elsewhere === undefined || this.stopped()) return false;
    const { device } = await this.open(first);
    const make = await this.request.elsewhere(runs, { device, estimates: this.estimates });
    if (make === undefined) return false;
    // The memory is theirs now.
    await this.closeDevice();
    await make();
    await this.prepare(false);
    return true;
  }

  private stopped(): boolean {
    return this.callbacks.shouldStop?.() === true;
  }

  private async differences(run: AblationRun, result: RunResult, hashes: Map<string, Promise<RunInputs['files']>>): Promise<string[]> {
    const { config } = run;
    const key = inputsKeyOf(config);
    const hash = hashes.get(key) ?? this.requestOf(run).then(withTokenizer).then((request) => hashRequest(request));
    hashes.set(key, hash);
    const before = { format: 1 as const, backend: result.backend, files: result.files, config: result.config };
    const evaluated = result.evaluation === this.evaluationHash() ? [] : ['tasks or retained rows are others'];
    return [...inputDifferences(before, inputsOf(await hash, config, result.backend), config), ...evaluated];
  }

  private evaluationHash(): string {
    return this.request.evaluation?.hash ?? '';
  }

  private async open(run: AblationRun): Promise<SharedParts> {
    if (this.shared !== undefined) return this.shared;
    const device = await openDevice(run.config.device, this.request.host);
    this.callbacks.onDevice?.(device);
    this.shared = new SharedParts(device);
    return this.shared;
  }

  private async closeDevice(): Promise<void> {
    const { shared } = this;
    this.shared = undefined;
    shared?.dispose();
    await shared?.device.close();
  }

  /** What is told of many runs is told once. */
  private note(run: AblationRun, note: string): void {
    if (!this.told.has(note)) this.callbacks.onNote?.(`${run.id}: ${note}`);
    this.told.add(note);
  }

  private async requestOf(run: AblationRun): Promise<FinetuneRequest> {
    return { config: run.config, host: this.request.host, ...(await this.request.open(run)) };
  }

  /** A help: what goes wrong here goes wrong again where it is reported. */
  private async estimate(runs: readonly AblationRun[]): Promise<void> {
    const [first] = runs as readonly [AblationRun];
    const shared = await this.open(first);
    try {
      for (const run of runs) if (!this.stopped()) await this.baseline(run, shared);
      const estimates = await estimateRuns(runs, {
        shared,
        requestOf: (run) => this.requestOf(run),
        evaluationSeconds: (run) => this.baselines[baselineKey(run)]?.seconds ?? 0,
        stopped: () => this.stopped(),
      });
      this.estimates = estimates;
      if (!this.stopped()) this.callbacks.onEstimate?.(estimates);
    } catch (error) {
      this.callbacks.onNote?.(`nothing was estimated: ${messageOf(error)}`);
      if (error instanceof DeviceError) await this.closeDevice();
    }
  }

  /** The metrics of the base model, from an earlier sitting where it has them. */
  private async baseline(run: AblationRun, shared: SharedParts): Promise<Baseline | undefined> {
    const { evaluation, store } = this.request;
    if (evaluation === undefined) return undefined;
    const key = baselineKey(run);
    if (this.baselines[key] !== undefined) return this.baselines[key];
    const saved = await store.baseline(key);
    let baseline = saved?.evaluation === evaluation.hash ? saved : undefined;
    if (baseline === undefined) {
      const request = await this.requestOf(run);
      const decoder = await loadBase(request, await readModelConfig(request.model), shared);
      const started = performance.now();
      const metrics = await shared.device.guard(evaluation.evaluate(decoder, await loadTokenizer(request.model)));
      baseline = { metrics, evaluation: evaluation.hash, seconds: (performance.now() - started) / 1000 };
      await store.saveBaseline(key, baseline);
    }
    this.baselines[key] = baseline;
    this.callbacks.onBaseline?.(key, baseline);
    return baseline;
  }

  private async make(run: AblationRun): Promise<void> {
    const { store } = this.request;
    const output = await store.open(run);
    try {
      const finished = await this.train(run, output, await this.open(run));
      if (finished === undefined) return;
      this.finished.set(run.id, finished);
      await this.callbacks.onFinished?.(run, finished, this.state());
    } catch (error) {
      const message = messageOf(error);
      await output.fail(message);
      this.failed.set(run.id, { id: run.id, error: message });
      await this.callbacks.onFailed?.(run, message);
      // Lost, or out of memory: the next run gets a new one.
      if (error instanceof DeviceError) await this.closeDevice();
    }
  }

  /** @returns undefined when the run was stopped. */
  private async train(run: AblationRun, output: RunStore, shared: SharedParts): Promise<FinishedRun | undefined> {
    const { evaluation } = this.request;
    const { shouldStop, onStep, onEvaluate, onRun } = this.callbacks;
    const baseline = await this.baseline(run, shared);
    const request = await this.requestOf(run);
    let rows = 0;
    let measured: { readonly loss: number; readonly metrics: Record<string, number>; readonly seconds: number } | undefined;
    const callbacks: FinetuneCallbacks = {
      onData: ({ train }) => (rows = train.stats.rows),
      onReady: async ({ totalSteps, doneSteps }) => {
        await output.begin(doneSteps);
        onRun?.(run, { totalSteps, doneSteps });
      },
      onStep: (metrics) => onStep?.(run, metrics),
      onLog: (metrics) => output.append(metrics),
      onEvaluate: async (metrics) => {
        onEvaluate?.(run, metrics);
        await output.append(metrics);
      },
      onTest: async ({ loss, perplexity }) => output.append({ test_loss: loss, test_perplexity: perplexity }),
      onCheckpoint: (files, info) => output.save(files, info),
      onTrained: async ({ decoder, tokenizer, data, training }) => {
        const started = performance.now();
        const best = run.config.training.load_best_model_at_end ? training.best?.eval_loss : undefined;
        const loss = best ?? (data.validation === undefined ? NaN : (await evaluateLoss(decoder, data.validation.examples, run.config.training.per_device_eval_batch_size)).loss);
        const metrics = (await evaluation?.evaluate(decoder, tokenizer)) ?? {};
        measured = { loss, metrics, seconds: (performance.now() - started) / 1000 };
      },
      onNote: (note) => this.note(run, note),
      ...(shouldStop === undefined ? {} : { shouldStop }),
    };
    const { training, counts, test, files } = await finetuneOn(shared, { ...request, resume: output.resume, callbacks });
    if (measured === undefined || this.stopped()) return undefined;
    const log = await output.log();
    const peak = await plannedBytes(await withTokenizer(request), await readModelConfig(request.model), shared);
    const { loss, metrics, seconds: evaluationSeconds } = measured;
    const timings = { seconds: training.seconds, tokens_per_second: training.tokens / Math.max(training.seconds, 1e-6), evaluation_seconds: evaluationSeconds };
    const result: RunResult = {
      format: 1,
      id: run.id,
      settings: { ...run.settings },
      seed: run.seed,
      config: JSON.parse(JSON.stringify(run.config)) as Record<string, unknown>,
      files: await hashRequest(request, shared),
      backend: shared.device.backend,
      evaluation: this.evaluationHash(),
      validation_loss: loss,
      train_loss: training.trainLoss,
      ...(test === undefined ? {} : { test_loss: test.loss }),
      steps: training.steps,
      total_steps: training.totalSteps,
      stopped_early: training.stoppedEarly,
      train_rows: rows,
      tokens: training.tokens,
      metrics,
      forgetting: forgettingOf(metrics, baseline?.metrics ?? {}, evaluation?.retained ?? new Map<string, boolean>()),
      trainable_parameters: counts.trainable,
      adapter_bytes: bytesOf(files),
      ...(peak === undefined ? {} : { peak_memory_bytes: peak }),
      ...curvesOf(log),
    };
    await output.finish(files, result, timings);
    return { result, timings };
  }
}

/** Name of a base model's metrics: what it is, and how it is held. */
function baselineKey({ config }: AblationRun): string {
  const { load_in_4bit: packed, bnb_4bit_quant_type: type } = config.quantization;
  return `${packed ? type : 'float'}-${shortHash(baseKeyOf(config))}`;
}

/** Bytes of the trained tensors as they are saved. */
function bytesOf(files: Readonly<Record<string, Uint8Array | string>>): number {
  const weights = Object.entries(files).filter(([name]) => name === ADAPTER_WEIGHTS || (files[ADAPTER_WEIGHTS] === undefined && name.endsWith('.safetensors')));
  return weights.reduce((sum, [, content]) => sum + content.length, 0);
}

/** What the log says of the course of a run, without what a clock or the neighbours on the device have in it. */
function curvesOf(log: readonly unknown[]): Pick<RunResult, 'losses' | 'validation'> {
  const lines = log as readonly Partial<StepMetrics & EvalMetrics>[];
  return {
    losses: lines.flatMap(({ step, loss, learning_rate, grad_norm }) =>
      step === undefined || loss === undefined || learning_rate === undefined || grad_norm === undefined ? [] : [{ step, loss, learning_rate, grad_norm }],
    ),
    validation: lines.flatMap(({ step, eval_loss }) => (step === undefined || eval_loss === undefined ? [] : [{ step, eval_loss }])),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
