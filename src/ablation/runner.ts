import { ConfigError, DeviceError } from '../errors.js';
import type { DiskNeeds } from '../finetune/disk-needs.js';
import type { CheckedRequest } from '../finetune/request.js';
import { Baselines } from './baselines.js';
import { DeviceHolder } from './device-holder.js';
import { diskNeedsOfRun, estimateRuns, type RunEstimate } from './estimate.js';
import { changesSince } from './changed-since-finished.js';
import { makeRun } from './make-run.js';
import type { AblationCallbacks, AblationRequest, AblationState } from './request.js';
import type { FailedRun, FinishedRun } from './result.js';
import type { AblationRun } from './runs.js';
import type { RunStore } from './store.js';

/**
 * Makes the runs that are not finished, one after the other on one device; those with the same base model share it. A
 * run that fails is noted and the others go on.
 * @throws ConfigError when a finished run was made of something else than it would be now; DeviceError when no device
 * can be opened.
 */
export async function runAblation(request: AblationRequest): Promise<AblationState> {
  const runner = new AblationRunner(request);
  await runner.prepare();
  if (runner.pending.length > 0) await runner.complete();
  return runner.state();
}

/**
 * What the store has of an ablation: finished and failed runs (with `retry` the failed ones are pending), and the
 * baselines of the finished ones. Opens no device and makes no run; `onKnown` is called for each run that was found.
 * @throws ConfigError when a finished run was made of something else than it would be now.
 */
export async function readAblationState(request: AblationRequest): Promise<AblationState> {
  const runner = new AblationRunner(request);
  await runner.prepare();
  return runner.state();
}

class AblationRunner {
  private readonly finished = new Map<string, FinishedRun>();
  private readonly failed = new Map<string, FailedRun>();
  private readonly told = new Set<string>();
  private readonly baselines: Baselines;
  private readonly callbacks: AblationCallbacks;
  private readonly device: DeviceHolder;
  private estimates: readonly RunEstimate[] = [];

  constructor(private readonly request: AblationRequest) {
    this.callbacks = request.callbacks ?? {};
    this.baselines = new Baselines(request);
    this.device = request.device ?? new DeviceHolder(request.host, this.callbacks.onDevice);
  }

  get pending(): AblationRun[] {
    return this.request.runs.filter(({ id }) => !this.finished.has(id) && !this.failed.has(id));
  }

  state(): AblationState {
    const listed = <T>(found: ReadonlyMap<string, T>): T[] =>
      this.request.runs.flatMap(({ id }) => found.get(id) ?? []);
    return {
      finished: listed(this.finished),
      failed: listed(this.failed),
      pending: this.pending,
      baselines: this.baselines.found,
    };
  }

  /** Finds the runs that the store has already. */
  async prepare(retry = this.request.retry ?? false): Promise<void> {
    const { runs, store } = this.request;
    const problems: string[] = [];
    const changes = changesSince({
      requestOf: (run) => this.requestOf(run),
      evaluationHash: this.baselines.evaluationHash,
    });
    for (const run of runs) {
      const { finished, failed } = await store.state(run);
      if (finished !== undefined) {
        const differences = await changes(run, finished.result);
        problems.push(...differences.map((difference) => `run ${run.id}: ${difference}`));
        this.finished.set(run.id, finished);
        await this.baselines.recall(run);
        this.callbacks.onKnown?.(run, { finished });
      } else if (failed !== undefined && !retry) {
        this.failed.set(run.id, { id: run.id, error: failed });
        this.callbacks.onKnown?.(run, { failed });
      }
    }
    if (problems.length > 0)
      throw new ConfigError(
        `finished runs were made of something else; remove their folders, or give another output_dir:\n  ${problems.join('\n  ')}`,
      );
  }

  async complete(): Promise<void> {
    const { pending } = this;
    // Those with one base together; else in their order.
    const bases = [...new Set(pending.map(({ config }) => JSON.stringify(config.quantization)))];
    const ordered = bases.flatMap((base) =>
      pending.filter(({ config }) => JSON.stringify(config.quantization) === base),
    );
    try {
      await this.requireSpace(ordered);
      if (this.request.estimate !== false) await this.estimate(ordered);
      if (await this.madeElsewhere(ordered)) return;
      for (const run of ordered) {
        if (this.stopped()) break;
        await this.make(run);
      }
    } finally {
      if (this.request.device === undefined) await this.device.close();
    }
  }

  /** @throws ConfigError where the disk has too little room for all runs together. */
  private async requireSpace(runs: readonly AblationRun[]): Promise<void> {
    const { store, jobs = 1 } = this.request;
    if (store.requireSpace === undefined) return;
    const needs: DiskNeeds[] = [];
    for (const run of runs) {
      if (this.stopped()) return;
      try {
        const shared = await this.device.open(run.config);
        needs.push(await diskNeedsOfRun(await this.requestOf(run), shared));
      } catch {
        // What is wrong with a run is reported where it is made.
      }
    }
    await store.requireSpace(runs, needs, Math.min(jobs, runs.length));
  }

  private async madeElsewhere(runs: readonly AblationRun[]): Promise<boolean> {
    const [first] = runs as readonly [AblationRun];
    if (this.request.elsewhere === undefined || this.stopped()) return false;
    const { device } = await this.device.open(first.config);
    const make = await this.request.elsewhere(runs, { device, estimates: this.estimates });
    if (make === undefined) return false;
    // The memory is theirs now.
    await this.device.close();
    await make();
    await this.prepare(false);
    return true;
  }

  private stopped(): boolean {
    return this.callbacks.shouldStop?.() === true;
  }

  /** What is told of many runs is told once. */
  private note(run: AblationRun, note: string): void {
    if (!this.told.has(note)) this.callbacks.onNote?.(`${run.id}: ${note}`);
    this.told.add(note);
  }

  private async requestOf(run: AblationRun): Promise<CheckedRequest> {
    return { config: run.config, host: this.request.host, ...(await this.request.open(run)) };
  }

  /** A help: what goes wrong here goes wrong again where it is reported. */
  private async estimate(runs: readonly AblationRun[]): Promise<void> {
    const [first] = runs as readonly [AblationRun];
    const shared = await this.device.open(first.config);
    try {
      for (const run of runs) if (!this.stopped()) await this.baselines.of(run, await this.requestOf(run), shared);
      const estimates = await estimateRuns(runs, {
        shared,
        requestOf: (run) => this.requestOf(run),
        evaluationSeconds: (run) => this.baselines.seconds(run),
        stopped: () => this.stopped(),
      });
      this.estimates = estimates;
      if (!this.stopped()) this.callbacks.onEstimate?.(estimates);
    } catch (error) {
      this.callbacks.onNote?.(`nothing was estimated: ${messageOf(error)}`);
      if (error instanceof DeviceError) await this.device.close();
    }
  }

  private async make(run: AblationRun): Promise<void> {
    const finished = await this.tryRun(run);
    if (finished === undefined) return;
    this.finished.set(run.id, finished);
    await this.attempt(run, 'the run is finished, but its tables were not written', () =>
      this.callbacks.onFinished?.(run, finished, this.state()),
    );
  }

  /** @returns undefined for a run that was stopped, or has failed. */
  private async tryRun(run: AblationRun): Promise<FinishedRun | undefined> {
    const { store, evaluation } = this.request;
    let output: RunStore | undefined;
    try {
      output = await store.open(run);
      const shared = await this.device.open(run.config);
      const request = await this.requestOf(run);
      const baseline = await this.baselines.of(run, request, shared);
      if (this.stopped()) return undefined;
      const onNote = (note: string): void => this.note(run, note);
      return await makeRun({ run, request, output, shared, baseline, evaluation, onNote, callbacks: this.callbacks });
    } catch (error) {
      const message = messageOf(error);
      this.failed.set(run.id, { id: run.id, error: message });
      await this.attempt(run, 'its failure was not noted down', () => output?.fail(message));
      await this.attempt(run, 'its failure was not told', () => this.callbacks.onFailed?.(run, message));
      // Lost, or out of memory: the next run gets a new one.
      if (error instanceof DeviceError) await this.device.close();
      return undefined;
    }
  }

  /** What goes wrong beside a run is told, and the others go on. */
  private async attempt(run: AblationRun, what: string, work: () => unknown): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.note(run, `${what}: ${messageOf(error)}`);
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
