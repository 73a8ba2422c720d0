import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import type { Job, Worker } from 'bullmq';
import { LowrankError } from '../../errors.js';
import { visibleLine } from '../../text.js';
import { describeKills, describeRetry, isRetriedAfter, MOST_KILLS } from '../killed-process.js';
import type { ChildOrder, ChildReport } from './child.js';
import { connect, connectionOptions, loadBullmq, withoutSecrets } from './connection.js';
import { KEPT_SECONDS, QUEUE, type RunJob } from './job.js';
import { parseJob } from './messages.js';
import { Processes } from './processes.js';
import { queueSecret, unseal, type Sealed } from './signature.js';

export interface WorkerRequest {
  readonly url: string;
  /** As the collector shows it. */
  readonly name: string;
  /** Runs at a time, each in a process of its own. */
  readonly concurrency: number;
  /** Ends after one run. */
  readonly once: boolean;
  /** Ends when nothing waits and nothing runs, here or elsewhere: until then it stands in for workers that die. */
  readonly drain: boolean;
  /** A worker that is silent for so long is taken for dead. */
  readonly lockSeconds: number;
  /** Local folders that runs may read; any where undefined. */
  readonly folders?: readonly string[] | undefined;
  readonly log: (line: string) => void;
}

/** A worker at work. */
export interface RunningWorker {
  /** Takes no more runs; those that are on write a checkpoint and go back into the queue. */
  stop(): void;
  /** When the last run has ended. */
  readonly ended: Promise<{ readonly done: number; readonly failed: number }>;
}

/** Deaths of workers that one run may cause before it is taken for their reason. */
const MOST_DEATHS = 20;
const DRAIN_POLL_MS = 500;

/**
 * Takes runs from the queue until it is stopped.
 * @throws LowrankError when the server cannot be reached.
 */
export async function startWorker(request: WorkerRequest): Promise<RunningWorker> {
  const { url, name, concurrency, lockSeconds, log } = request;
  const secret = queueSecret();
  const { Worker, Queue, WaitingError } = await loadBullmq();
  // Says at once what is wrong with the address; BullMQ would try for ever.
  (await connect(url)).disconnect();
  const children = new Map<string, ChildProcess>();
  const processes = new Processes();
  const counts = { done: 0, failed: 0 };
  let stopping = false;
  const process = async (job: Job<Sealed>, token?: string): Promise<void> => {
    const last = await endOf(job);
    const name = visibleLine(job.name);
    if (last.type === 'stopped') {
      log(`${name}: back into the queue`);
      await job.moveToWait(token);
      throw new WaitingError();
    }
    if (last.type === 'lost') throw new LowrankError(`${name}: another worker has taken over`);
    if (last.type === 'failed') {
      counts.failed++;
      log(`${name}: failed: ${last.error}`);
      throw new LowrankError(last.error);
    }
    counts.done++;
    log(`${name}: done`);
  };
  /** Makes the run, once more where its process was ended from outside. */
  const endOf = async (job: Job<Sealed>): Promise<ChildReport> => {
    const id = job.id ?? '';
    let order: RunJob;
    try {
      order = parseJob(unseal('job', id, job.data, secret), id);
    } catch (error) {
      if (error instanceof LowrankError) return { type: 'failed', error: error.message };
      throw error;
    }
    for (let kills = 1; ; kills++) {
      // One that was fetched while this worker was told to stop.
      if (stopping) return { type: 'stopped' };
      const last = await runInChild(job, order, id);
      if (last.type !== 'killed') return last;
      // By who ends this worker too, perhaps before the word has come here.
      if (stopping || !isRetriedAfter(last.by)) return { type: 'stopped' };
      if (kills === MOST_KILLS)
        return { type: 'failed', error: `on ${name} the process of the run ${describeKills(last.by, kills)}` };
      log(`${order.run.id}: ${describeRetry(last.by, kills)}`);
    }
  };
  const runInChild = (job: Job<Sealed>, order: RunJob, id: string): Promise<ChildReport> => {
    log(`${order.run.id}: begins`);
    if (request.once) void worker.close();
    return processes.run(
      { type: 'run', url, id, owner: randomUUID(), worker: name, job: order, folders: request.folders },
      {
        onStart: (child) => children.set(id, child),
        onEnd: () => children.delete(id),
        onReport: (report) => {
          if (report.type === 'note') log(report.text);
          else if (report.type === 'progress')
            job
              .updateProgress(report.progress)
              .catch((error: unknown) => log(`${order.run.id}: ${withoutSecrets(String(error), url)}`));
        },
      },
    );
  };
  const lock = Math.round(lockSeconds * 1000);
  const worker: Worker<Sealed> = new Worker<Sealed>(QUEUE, process, {
    connection: connectionOptions(url),
    name,
    concurrency,
    lockDuration: lock,
    stalledInterval: lock,
    maxStalledCount: MOST_DEATHS,
    removeOnComplete: { age: KEPT_SECONDS },
    removeOnFail: { age: KEPT_SECONDS },
  });
  let lastError = '';
  worker.on('error', ({ message }) => {
    if (message !== lastError) log(withoutSecrets(message, url));
    lastError = message;
  });
  // Another worker may have these runs by now.
  worker.on('lockRenewalFailed', (ids) => {
    for (const id of ids) children.get(id)?.kill('SIGKILL');
  });
  worker.on('stalled', (id) => log(`${id}: its worker is silent, and it goes back into the queue`));

  const queue = new Queue(QUEUE, { connection: connectionOptions(url) });
  queue.on('error', () => undefined);
  const timer = setInterval(() => {
    if (!request.drain || children.size > 0) return;
    void queue
      .getJobCounts('waiting', 'active', 'delayed', 'prioritized')
      .then((left) => {
        if (Object.values(left).every((count) => count === 0)) void worker.close();
      })
      .catch(() => undefined);
  }, DRAIN_POLL_MS);
  const ended = new Promise<typeof counts>((resolve) => {
    worker.on('closed', () => {
      clearInterval(timer);
      processes.close();
      void queue.close().then(() => resolve(counts));
    });
  });
  return {
    ended,
    stop() {
      stopping = true;
      void worker.close();
      for (const child of children.values())
        if (child.connected) child.send({ type: 'stop' } satisfies ChildOrder, () => undefined);
    },
  };
}
