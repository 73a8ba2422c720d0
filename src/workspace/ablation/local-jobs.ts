import { fork, type ChildProcess } from 'node:child_process';
import { freemem } from 'node:os';
import { basename } from 'node:path';
import type { RunEstimate } from '../../ablation/estimate.js';
import type { AblationRun } from '../../ablation/runs.js';
import type { Device } from '../../device/device.js';
import { LowrankError } from '../../errors.js';
import { nodeHost } from '../../device/node.js';
import { describeKills, describeRetry, isRetriedAfter, MOST_KILLS } from '../killed-process.js';
import type { AblationProgress, RunChange } from '../../ablation/progress.js';

/** What the process of a share tells the one that shows it. */
type JobMessage = { readonly run: string; readonly change: RunChange } | { readonly note: string };

export interface JobsRequest {
  /** `auto` or a count. */
  readonly asked: number | undefined;
  readonly runs: readonly AblationRun[];
  readonly device: Device;
  readonly estimates: readonly RunEstimate[];
}

/** Runs that take less in all are made in one process. */
const WORTH_SECONDS = 8;

function totalSeconds(estimates: readonly RunEstimate[]): number {
  return estimates.reduce((sum, { seconds }) => sum + seconds, 0);
}

/**
 * Parts runs so that all parts take about the same time: the longest first, each to the part with least so far. A part
 * has them in their order.
 * @param estimates of these runs; runs without one count alike.
 */
export function shareOut(
  runs: readonly AblationRun[],
  parts: number,
  estimates: readonly RunEstimate[],
): AblationRun[][] {
  const known = new Map(estimates.map(({ run, seconds }) => [run.id, seconds]));
  const secondsOf = ({ id }: AblationRun): number => known.get(id) ?? 1;
  const shares = Array.from({ length: parts }, () => ({ ids: new Set<string>(), seconds: 0 }));
  for (const run of [...runs].sort((a, b) => secondsOf(b) - secondsOf(a))) {
    const least = shares.reduce((best, share) => (share.seconds < best.seconds ? share : best));
    least.ids.add(run.id);
    least.seconds += secondsOf(run);
  }
  return shares.map(({ ids }) => runs.filter(({ id }) => ids.has(id)));
}

/**
 * How many processes the runs shall be shared among. Unless asked for, several are used on `wasm` alone: threads of one
 * run wait for each other after every kernel, runs do not. A GPU is busy with one.
 */
export function jobsFor({ asked, runs, device, estimates }: JobsRequest): number {
  if (asked !== undefined) return Math.min(asked, runs.length);
  // Another process would take longer to start than the runs.
  if (estimates.length > 0 && totalSeconds(estimates) < WORTH_SECONDS) return 1;
  const own = /^(?:main\.[cm]?js|lowrank)$/.test(basename(process.argv[1] ?? ''));
  if (device.name !== 'wasm' || !own) return 1;
  const peak = Math.max(0, ...estimates.map(({ peakBytes }) => peakBytes ?? Infinity));
  // Beside its tensors a process holds the code, and heaps have room to grow.
  const room = Math.floor(freemem() / (2 * peak + 2 ** 28));
  return Math.max(1, Math.min(nodeHost.threads?.count() ?? 1, runs.length, room));
}

/**
 * Makes runs in several processes at once, each with its share of the runs and of the cores, and waits for all of them.
 * A process that is killed is started again with the runs that it has not ended, up to {@link MOST_KILLS} times for the
 * same run.
 * @param args of the command line of a process, without its runs
 * @param main of the command line
 * @throws LowrankError when a process ended otherwise than by finishing its runs or by a signal to all.
 */
export async function shareRuns(
  runs: readonly AblationRun[],
  jobs: number,
  {
    args,
    estimates,
    progress,
    stopped,
    main = process.argv[1] as string,
  }: {
    readonly args: readonly string[];
    readonly estimates: readonly RunEstimate[];
    readonly progress: AblationProgress;
    readonly stopped: () => NodeJS.Signals | undefined;
    readonly main?: string;
  },
): Promise<void> {
  const threads = Math.max(1, Math.floor((nodeHost.threads?.count() ?? jobs) / jobs));
  const children = new Set<ChildProcess>();
  const start = (share: readonly AblationRun[]): ChildProcess => {
    const child = fork(main, ['ablate', ...args, '--no-estimate', '--only', share.map(({ id }) => id).join(',')], {
      env: { ...process.env, LOWRANK_THREADS: String(threads) },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    children.add(child);
    child.once('close', () => children.delete(child));
    return child;
  };
  /** @returns why the runs of a share were not all made; undefined where they were. */
  const makeShare = async (share: readonly AblationRun[]): Promise<string | undefined> => {
    const left = new Map(share.map((run) => [run.id, run]));
    let kills = 0;
    for (;;) {
      const before = left.size;
      let current: AblationRun | undefined;
      const { status, signal } = await endOf(start([...left.values()]), (message) => {
        if ('note' in message) return progress.log(message.note);
        const run = left.get(message.run);
        if (run === undefined) return;
        progress.set(run, message.change);
        if (message.change.state === 'runs') current = run;
        if (message.change.state === 'done' || message.change.state === 'failed') left.delete(run.id);
      });
      if (stopped() !== undefined) return undefined;
      if (signal === null) return status === 0 ? undefined : `ended with status ${status}`;
      if (!isRetriedAfter(signal)) return `ended with ${signal}`;
      if (left.size === 0) return undefined;
      // Runs are made one after the other: where one has ended since, another was killed than before.
      kills = left.size < before ? 1 : kills + 1;
      if (kills === MOST_KILLS) return describeKills(signal, kills);
      progress.log(`${(current ?? [...left.values()][0])?.id}: ${describeRetry(signal, kills)}`);
      if (current !== undefined && left.has(current.id)) progress.set(current, { state: 'waits', step: 0 });
    }
  };
  // A terminal's Ctrl-C comes to all processes by itself; a signal to this one alone has to be passed on.
  const timer = setInterval(() => {
    if (stopped() === undefined) return;
    clearInterval(timer);
    for (const child of children) if (child.connected) child.send({ stop: true });
  }, 100);
  try {
    const ends = await Promise.all(shareOut(runs, jobs, estimates).map(makeShare));
    const reason = ends.find((end) => end !== undefined);
    if (reason !== undefined && stopped() === undefined)
      throw new LowrankError(`a process of the ablation ${reason}; rerun the same command to continue`);
  } finally {
    clearInterval(timer);
  }
}

function endOf(
  child: ChildProcess,
  take: (message: JobMessage) => void,
): Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    child.on('message', (message) => take(message as JobMessage));
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status, signal }));
  });
}

/**
 * In the process of a share: tells the one that started it. Its end ends this one too, with the checkpoints that there
 * are.
 */
export function jobProgress(onStop: () => void): AblationProgress {
  const send = (message: JobMessage): void => void process.send?.(message);
  process.on('message', onStop);
  process.on('disconnect', () => process.exit(1));
  return {
    set: ({ id }, change) => send({ run: id, change }),
    log: (note) => send({ note }),
    // Nothing more is heard; what was sent still arrives.
    stop: () => process.channel?.unref(),
  };
}
