import type { Job, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Baseline, FailedRun, FinishedRun } from '../../ablation/result.js';
import type { AblationCallbacks, AblationRequest, AblationState } from '../../ablation/request.js';
import { runAblation } from '../../ablation/runner.js';
import type { AblationRun } from '../../ablation/runs.js';
import type { EvaluationFiles } from '../ablation-evaluation.js';
import { connect, connectionOptions, loadBullmq, shownUrl } from './connection.js';
import { describeJobs } from './describe-jobs.js';
import { KEPT_SECONDS, QUEUE, type JobProgress, type JobResult, type RunJob } from './job.js';
import { FileSender } from './sent-files.js';
import { readFiles, readLog, readResult } from './store.js';

interface QueueRequest {
  readonly url: string;
  readonly evaluation: EvaluationFiles;
}

/** How often the queue is asked, in milliseconds. */
const POLL_MS = 500;

/**
 * What `runAblation` does, with the runs made by workers: puts those that are not finished into the queue, and each into its folder when
 * a worker has finished it. Stopping it leaves the queue as it is; called again, it finds its runs there.
 * @throws as runAblation, and LowrankError when the server cannot be reached.
 */
export async function collectAblation(request: AblationRequest, { url, evaluation }: QueueRequest): Promise<AblationState> {
  // Finds what is finished, and begins nothing.
  const known = await runAblation({ ...request, estimate: false, callbacks: { ...request.callbacks, shouldStop: () => true } });
  if (known.pending.length === 0) return known;
  const redis = await connect(url);
  const jobs = await describeJobs(known.pending, request, evaluation, new FileSender(redis, (text) => request.callbacks?.onNote?.(text))).catch((error: unknown) => {
    redis.disconnect();
    throw error;
  });
  const { Queue } = await loadBullmq();
  const queue = new Queue<RunJob>(QUEUE, { connection: connectionOptions(url) });
  // It connects again by itself.
  queue.on('error', () => undefined);
  try {
    const collector = new Collector(request, known, { redis, queue, jobs });
    await collector.fill();
    if ((await queue.getWorkersCount()) === 0) request.callbacks?.onNote?.(`no worker is there yet: lowrank worker --queue ${shownUrl(url)}`);
    while (collector.waiting && request.callbacks?.shouldStop?.() !== true) {
      await collector.look();
      if (collector.waiting) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return collector.state();
  } finally {
    await queue.close();
    redis.disconnect();
  }
}

class Collector {
  private readonly finished: Map<string, FinishedRun>;
  private readonly failed: Map<string, FailedRun>;
  private readonly baselines: Record<string, Baseline>;
  private readonly outstanding: Map<string, RunJob>;
  /** What was told of each run, so that it is told once. */
  private readonly told = new Map<string, JobProgress>();
  private readonly callbacks: AblationCallbacks;

  constructor(
    private readonly request: AblationRequest,
    known: AblationState,
    private readonly at: { readonly redis: Redis; readonly queue: Queue<RunJob>; readonly jobs: ReadonlyMap<string, RunJob> },
  ) {
    this.callbacks = request.callbacks ?? {};
    this.finished = new Map(known.finished.map((run) => [run.result.id, run]));
    this.failed = new Map(known.failed.map((run) => [run.id, run]));
    this.baselines = { ...known.baselines };
    this.outstanding = new Map(at.jobs);
  }

  get waiting(): boolean {
    return this.outstanding.size > 0;
  }

  state(): AblationState {
    const { runs } = this.request;
    const listed = <T>(found: ReadonlyMap<string, T>): T[] => runs.flatMap(({ id }) => found.get(id) ?? []);
    const pending = runs.filter(({ id }) => !this.finished.has(id) && !this.failed.has(id));
    return { finished: listed(this.finished), failed: listed(this.failed), pending, baselines: this.baselines };
  }

  /** Puts every run into the queue that is not there. */
  async fill(): Promise<void> {
    for (const [id, job] of this.outstanding) {
      const present = await this.at.queue.getJob(id);
      if (present === undefined) await this.add(id, job);
      else if (this.request.retry === true && (await present.isFailed())) await present.retry('failed');
    }
  }

  /** Looks once at every run that is out. */
  async look(): Promise<void> {
    for (const [id, job] of this.outstanding) {
      if (this.callbacks.shouldStop?.() === true) return;
      const result = await readResult(this.at.redis, id);
      if (result !== undefined) {
        await this.take(id, job, result);
        continue;
      }
      const present = await this.at.queue.getJob(id);
      if (present === undefined) await this.add(id, job);
      else await this.follow(id, job, present);
    }
  }

  private async add(id: string, job: RunJob): Promise<void> {
    await this.at.queue.add(job.run.id, job, { jobId: id, removeOnComplete: { age: KEPT_SECONDS }, removeOnFail: { age: KEPT_SECONDS } });
  }

  private async follow(id: string, { run }: RunJob, job: Job<RunJob>): Promise<void> {
    const state = await job.getState();
    if (state === 'failed') {
      const error = job.failedReason;
      await (await this.request.store.open(run)).fail(error);
      this.outstanding.delete(id);
      this.failed.set(run.id, { id: run.id, error });
      await this.callbacks.onFailed?.(run, error);
    } else if (state === 'completed' && (await readResult(this.at.redis, id)) === undefined) {
      // Its result is gone from Redis: too old, or the server has lost it.
      await job.remove();
    } else {
      this.tell(run, job.progress);
    }
  }

  private tell(run: AblationRun, given: unknown): void {
    if (typeof given !== 'object' || given === null) return;
    const progress = given as JobProgress;
    const before = this.told.get(run.id);
    if (JSON.stringify(before) === JSON.stringify(progress)) return;
    this.told.set(run.id, progress);
    const { worker, totalSteps, doneSteps, step, evaluation } = progress;
    if (worker !== before?.worker || doneSteps !== before.doneSteps) {
      this.callbacks.onNote?.(`${run.id}: ${worker} ${doneSteps > 0 ? `goes on after step ${doneSteps}` : 'begins'}`);
      this.callbacks.onRun?.(run, { totalSteps, doneSteps });
    }
    if (step !== undefined) this.callbacks.onStep?.(run, step);
    if (evaluation !== undefined && evaluation.step !== before?.evaluation?.step) this.callbacks.onEvaluate?.(run, evaluation);
  }

  /** Writes a finished run into its folder, as if it had been made here. */
  private async take(id: string, { run }: RunJob, { result, timings, baseline }: JobResult): Promise<void> {
    const { store } = this.request;
    const [files, log] = [await readFiles(this.at.redis, id), await readLog(this.at.redis, id)];
    const output = await store.open(run);
    await output.begin(0);
    for (const line of log) await output.append(line);
    if (baseline !== undefined) {
      await store.saveBaseline(...baseline);
      this.baselines[baseline[0]] = baseline[1];
    }
    await output.finish(files, result, timings);
    this.outstanding.delete(id);
    const finished = { result, timings };
    this.finished.set(run.id, finished);
    await this.callbacks.onFinished?.(run, finished, this.state());
  }
}
