import { runAblation, type AblationRequest } from '../../ablation/runner.js';
import { openDevice } from '../../device/open.js';
import { ConfigError, LowrankError } from '../../errors.js';
import { nodeHost } from '../../node.js';
import { inputDifferences, inputsOf, readInputs } from '../../resume/inputs.js';
import { hashRequest, withTokenizer } from '../../run/load.js';
import { openEvaluation } from '../ablation-evaluation.js';
import { openSources } from '../ablation-sources.js';
import { connect } from './connection.js';
import type { JobProgress, RunJob } from './job.js';
import { claimRun, type JobStore } from './store.js';

/** To the process of a run. */
export type ChildOrder = { readonly type: 'run'; readonly url: string; readonly id: string; readonly owner: string; readonly worker: string; readonly job: RunJob } | { readonly type: 'stop' };

/** From it; the last one says how the run ended. */
export type ChildReport =
  | { readonly type: 'progress'; readonly progress: JobProgress }
  | { readonly type: 'note'; readonly text: string }
  | { readonly type: 'done' | 'stopped' | 'lost' }
  | { readonly type: 'failed'; readonly error: string };

/** How often the queue is told of steps, in milliseconds. */
const REPORT_MS = 1000;

/**
 * The process of one run of a queue. It is one of its own, so that the lock of its job is renewed however long a step takes, and so that
 * what crashes is only this run.
 */
export async function runChild(): Promise<void> {
  if (process.send === undefined) throw new ConfigError('--child is for the worker itself');
  // Ctrl-C in a terminal comes to all its processes: the worker says what it means.
  process.on('SIGINT', ignore);
  process.on('SIGTERM', ignore);
  // Without the worker nobody renews the lock.
  process.on('disconnect', () => process.exit(1));
  let stopped = false;
  const order = await new Promise<ChildOrder & { type: 'run' }>((resolve) => {
    process.on('message', (received: ChildOrder) => {
      if (received.type === 'stop') stopped = true;
      else resolve(received);
    });
  });
  const last = await endOf(order, () => stopped);
  await new Promise<void>((resolve) => process.send?.(last, undefined, {}, () => resolve()));
  process.exit(0);
}

async function endOf(order: ChildOrder & { type: 'run' }, stopped: () => boolean): Promise<ChildReport> {
  let store: JobStore | undefined;
  try {
    const redis = await connect(order.url);
    store = await claimRun(redis, order.id, order.owner, order.job, (text) => note(`${order.job.run.id}: ${text}`));
    const error = await makeRun(order, store, stopped);
    if (store.lost) return { type: 'lost' };
    if (error !== undefined) return { type: 'failed', error };
    return { type: (await store.state(order.job.run)).finished === undefined ? 'stopped' : 'done' };
  } catch (error) {
    if (store?.lost === true) return { type: 'lost' };
    if (!(error instanceof LowrankError)) note(`${order.job.run.id}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return { type: 'failed', error: error instanceof Error ? error.message : String(error) };
  }
}

/** @returns what the run failed with. */
async function makeRun({ job, worker }: ChildOrder & { type: 'run' }, store: JobStore, stopped: () => boolean): Promise<string | undefined> {
  const { run } = job;
  const sources = openSources();
  const measured = await openEvaluation(job.evaluation, run.config.training.per_device_eval_batch_size);
  try {
    const request: AblationRequest = {
      runs: [run],
      store,
      host: nodeHost,
      open: (each) => sources.of(each),
      evaluation: measured.evaluation,
      estimate: false,
      callbacks: { ...reports(worker), onNote: note, shouldStop: stopped },
    };
    await requireSame(job, request, worker);
    await leaveOthersCheckpoint(job, store);
    const { failed } = await runAblation(request);
    return failed[0]?.error;
  } finally {
    await sources.close();
    await measured.close();
  }
}

/** @throws ConfigError where a path means other files here than where the run was queued. */
async function requireSame({ run, files, evaluation }: RunJob, { open, evaluation: own }: AblationRequest, worker: string): Promise<void> {
  const { config } = run;
  const request = await withTokenizer({ config, host: nodeHost, ...(await open(run)) });
  const before = inputsOf(files, config, '');
  const differences = inputDifferences(before, inputsOf(await hashRequest(request), config, ''), config);
  if ((own?.hash ?? '') !== evaluation.hash) differences.push('tasks or retained rows are others');
  if (differences.length > 0) throw new ConfigError(`${worker} has other files at the same paths: ${differences.join('; ')}`);
}

/** Numbers of two backends would be mixed: a run that this machine computes in another way begins anew. */
async function leaveOthersCheckpoint({ run }: RunJob, store: JobStore): Promise<void> {
  const checkpoint = await store.checkpoint();
  if (checkpoint === undefined) return;
  const device = await openDevice(run.config.device, nodeHost);
  const { backend } = device;
  await device.close();
  const before = await readInputs(checkpoint);
  if (before.backend === backend) return;
  note(`${run.id}: ${checkpoint.name} was computed on ${before.backend}, and this is ${backend}: the run begins anew`);
  await store.dropCheckpoint();
}

function reports(worker: string): NonNullable<AblationRequest['callbacks']> {
  let progress: JobProgress = { worker, totalSteps: 0, doneSteps: 0 };
  let told = -Infinity;
  const tell = (change: Partial<JobProgress>, now: boolean): void => {
    progress = { ...progress, ...change };
    if (!now && performance.now() - told < REPORT_MS) return;
    told = performance.now();
    report({ type: 'progress', progress });
  };
  return {
    onRun: (_run, { totalSteps, doneSteps }) => tell({ totalSteps, doneSteps }, true),
    onStep: (_run, step) => tell({ step }, false),
    onEvaluate: (_run, evaluation) => tell({ evaluation }, true),
  };
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
