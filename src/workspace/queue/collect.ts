import type { Job, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Baseline, FailedRun, FinishedRun } from '../../ablation/result.js';
import type { AblationCallbacks, AblationRequest, AblationState } from '../../ablation/request.js';
import { readAblationState } from '../../ablation/runner.js';
import type { AblationRun } from '../../ablation/runs.js';
import type { EvaluationFiles } from '../ablation/evaluation-files.js';
import { FormatError } from '../../errors.js';
import { connect, connectionOptions, loadBullmq, shownUrl } from './connection.js';
import { describeJobs } from './describe-jobs.js';
import { KEPT_SECONDS, QUEUE, runKeys, type JobProgress, type JobResult, type RunJob } from './job.js';
import { parseProgress } from './messages.js';
import { FileSender } from './sent-files.js';
import { queueSecret, seal, type Sealed } from './signature.js';
import { readFiles, readLog, readResult } from './store.js';

interface QueueRequest {
  readonly url: string;
  readonly evaluation: EvaluationFiles;
}

/** How often the queue is asked, in milliseconds. */
const POLL_MS = 500;

/** Characters of an error that a worker tells. */
const MOST_ERROR = 10_000;

/**
 * What `runAblation` does, with the runs made by workers: puts those that are not finished into the queue, and each
 * into its folder when a worker has finished it. Stopping it leaves the queue as it is; called again, it finds its runs
 * there.
 * @throws as runAblation, and LowrankError when the server cannot be reached.
 */
export async function collectAblation(
  request: AblationRequest,
  { url, evaluation }: QueueRequest,
): Promise<AblationState> {
  const stored = await readAblationState(request);
  if (stored.pending.length === 0) return stored;
  const secret = queueSecret();
  const redis = await connect(url);
  const jobs = await describeJobs(
    stored.pending,
    request,
    evaluation,
    new FileSender(redis, (text) => request.callbacks?.onNote?.(text)),
  ).catch((error: unknown) => {
    redis.disconnect();
    throw error;
  });
  const { Queue } = await loadBullmq();
  const queue = new Queue<Sealed>(QUEUE, { connection: connectionOptions(url) });
  // It connects again by itself.
  queue.on('error', () => undefined);
  try {
    const collector = new Collector(request, stored, { redis, queue, jobs, secret });
    await collector.fill();
    if ((await queue.getWorkersCount()) === 0)
      request.callbacks?.onNote?.(`no worker is there yet: lowrank worker --queue ${shownUrl(url)}`);
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

/** A finished run as it is in Redis. */
interface Found {
  readonly made: JobResult;
  readonly files: Readonly<Record<string, Uint8Array>>;
  readonly log: readonly object[];
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
    stored: AblationState,
    private readonly at: {
      readonly redis: Redis;
      readonly queue: Queue<Sealed>;
      readonly jobs: ReadonlyMap<string, RunJob>;
      readonly secret: string | undefined;
    },
  ) {
    this.callbacks = request.callbacks ?? {};
    this.finished = new Map(stored.finished.map((run) => [run.result.id, run]));
    this.failed = new Map(stored.failed.map((run) => [run.id, run]));
    this.baselines = { ...stored.baselines };
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
      else if (this.request.retry === true && (await this.foundOf(id, job)) instanceof FormatError) {
        await this.at.redis.del(runKeys(id).result);
        await present.remove();
        await this.add(id, job);
      }
    }
  }

  /** Looks once at every run that is out. */
  async look(): Promise<void> {
    for (const [id, job] of this.outstanding) {
      if (this.callbacks.shouldStop?.() === true) return;
      const found = await this.foundOf(id, job);
      if (found !== undefined) {
        if (found instanceof FormatError) await this.fail(id, job, found.message);
        else await this.take(id, job, found);
        continue;
      }
      const present = await this.at.queue.getJob(id);
      if (present === undefined) await this.add(id, job);
      else await this.follow(id, job, present);
    }
  }

  private async add(id: string, job: RunJob): Promise<void> {
    await this.at.queue.add(job.run.id, seal('job', id, JSON.stringify(job), this.at.secret), {
      jobId: id,
      removeOnComplete: { age: KEPT_SECONDS },
      removeOnFail: { age: KEPT_SECONDS },
    });
  }

  /** What a run left in Redis; where it is refused the error that says why. */
  private async foundOf(id: string, job: RunJob): Promise<Found | FormatError | undefined> {
    const { redis, secret } = this.at;
    try {
      const made = await readResult(redis, id, job, secret);
      return made === undefined
        ? undefined
        : { made, files: await readFiles(redis, id, made), log: await readLog(redis, id, made) };
    } catch (error) {
      if (error instanceof FormatError) return error;
      throw error;
    }
  }

  private async fail(id: string, { run }: RunJob, error: string): Promise<void> {
    await (await this.request.store.open(run)).fail(error);
    this.outstanding.delete(id);
    this.failed.set(run.id, { id: run.id, error });
    await this.callbacks.onFailed?.(run, error);
  }

  private async follow(id: string, asked: RunJob, job: Job<Sealed>): Promise<void> {
    const state = await job.getState();
    if (state === 'failed') {
      await this.fail(id, asked, String(job.failedReason).slice(0, MOST_ERROR));
    } else if (state === 'completed' && (await this.foundOf(id, asked)) === undefined) {
      // Its result is gone from Redis: too old, or the server has lost it.
      await job.remove();
    } else {
      this.tell(asked.run, job.progress);
    }
  }

  private tell(run: AblationRun, given: unknown): void {
    const progress = parseProgress(given);
    if (progress === undefined) return;
    const before = this.told.get(run.id);
    if (JSON.stringify(before) === JSON.stringify(progress)) return;
    this.told.set(run.id, progress);
    const { worker, totalSteps, doneSteps, step, evaluation } = progress;
    if (worker !== before?.worker || doneSteps !== before.doneSteps) {
      this.callbacks.onNote?.(`${run.id}: ${worker} ${doneSteps > 0 ? `goes on after step ${doneSteps}` : 'begins'}`);
      this.callbacks.onRun?.(run, { totalSteps, doneSteps });
    }
    if (step !== undefined) this.callbacks.onStep?.(run, step);
    if (evaluation !== undefined && evaluation.step !== before?.evaluation?.step)
      this.callbacks.onEvaluate?.(run, evaluation);
  }

  /** Writes a finished run into its folder, as if it had been made here. */
  private async take(
    id: string,
    { run }: RunJob,
    { made: { result, timings, baseline }, files, log }: Found,
  ): Promise<void> {
    const { store } = this.request;
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
