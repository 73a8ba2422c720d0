import type { Redis } from 'ioredis';
import { DeviceHolder } from '../../ablation/device-holder.js';
import { ConfigError, LowrankError } from '../../errors.js';
import { nodeHost } from '../../device/node.js';
import { openSources } from '../ablation/sources.js';
import { AllowedFolders } from './allowed-paths.js';
import { connect } from './connection.js';
import type { JobProgress, RunJob } from './job.js';
import { makeJob } from './run-job.js';
import { locateFiles } from './sent-files.js';
import { queueSecret } from './signature.js';
import { claimRun, type JobStore } from './store.js';

/** A run for a process to make. */
export interface RunOrder {
  readonly type: 'run';
  readonly url: string;
  readonly id: string;
  readonly owner: string;
  readonly worker: string;
  readonly job: RunJob;
  /** Local folders that the run may read; any where undefined. */
  readonly folders?: readonly string[] | undefined;
}

/** To the process of a run. */
export type ChildOrder = RunOrder | { readonly type: 'stop' };

/** From it; the last one says how the run ended. */
export type ChildReport =
  | { readonly type: 'progress'; readonly progress: JobProgress }
  | { readonly type: 'note'; readonly text: string }
  | { readonly type: 'done' | 'stopped' | 'lost' }
  /** Said by the worker of a process that ended in the middle: by what. */
  | { readonly type: 'killed'; readonly by: string }
  | { readonly type: 'failed'; readonly error: string };

/** What a process keeps from run to run, so that runs with the same base find it loaded. */
interface Kept {
  readonly device: DeviceHolder;
  sources: ReturnType<typeof openSources>;
  /** What the runs so far were made of. */
  files: string | undefined;
  redis: Redis | undefined;
}

/**
 * A process that makes runs of a queue, one after the other. It is not the worker's own, so that the lock of its job is
 * renewed however long a step takes, and so that what crashes is only this run. After a run that did not go well it
 * ends.
 */
export async function runChild(): Promise<void> {
  if (process.send === undefined) throw new ConfigError('--child is for the worker itself');
  // The worker ended while this process was starting.
  if (!process.connected) return;
  // Ctrl-C in a terminal comes to all its processes: the worker says what it means.
  process.on('SIGINT', ignore);
  process.on('SIGTERM', ignore);
  process.on('SIGHUP', ignore);
  // Without the worker nobody renews the lock.
  process.on('disconnect', () => process.exit(1));
  let stopped = false;
  const kept: Kept = {
    device: new DeviceHolder(nodeHost),
    sources: openSources(note),
    files: undefined,
    redis: undefined,
  };
  const take = async (order: RunOrder): Promise<void> => {
    const last = await endOf(order, kept, () => stopped);
    await new Promise<void>((resolve) => process.send?.(last, undefined, {}, () => resolve()));
    if (last.type !== 'done') process.exit(0);
  };
  process.on('message', (order: ChildOrder) => {
    if (order.type === 'stop') stopped = true;
    else void take(order);
  });
  await new Promise(() => undefined);
}

/** What is loaded of other files is let go. */
async function keepWhatIsSame({ files }: RunJob, kept: Kept): Promise<void> {
  const now = JSON.stringify(files);
  if (kept.files !== undefined && kept.files !== now) {
    kept.device.forget();
    await kept.sources.close();
    kept.sources = openSources(note);
  }
  kept.files = now;
}

async function endOf(order: RunOrder, kept: Kept, stopped: () => boolean): Promise<ChildReport> {
  const { run } = order.job;
  let store: JobStore | undefined;
  try {
    kept.redis ??= await connect(order.url);
    store = await claimRun(
      kept.redis,
      order.id,
      order.owner,
      order.job,
      (text) => note(`${run.id}: ${text}`),
      queueSecret(),
    );
    await keepWhatIsSame(order.job, kept);
    const allowed = await AllowedFolders.of(order.folders);
    const locate = await locateFiles(kept.redis, order.job, order.worker, allowed);
    await allowed.require(order.job, locate);
    const error = await makeJob(order.job, {
      ...kept,
      worker: order.worker,
      store,
      locate,
      stopped,
      note,
      onProgress: (progress) => report({ type: 'progress', progress }),
    });
    if (store.lost) return { type: 'lost' };
    if (error !== undefined) return { type: 'failed', error };
    return { type: (await store.state(run)).finished === undefined ? 'stopped' : 'done' };
  } catch (error) {
    if (store?.lost === true) return { type: 'lost' };
    if (!(error instanceof LowrankError))
      note(`${run.id}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return { type: 'failed', error: error instanceof Error ? error.message : String(error) };
  }
}

function note(text: string): void {
  report({ type: 'note', text });
}

function report(message: ChildReport): void {
  // The channel is gone with the worker, and this process with it.
  if (process.connected) process.send?.(message);
}

function ignore(): void {
  // The worker decides.
}
