import { hostname } from 'node:os';
import { ConfigError } from '../../errors.js';
import { InterruptedError, watchInterrupts } from '../../workspace/interrupt.js';
import { tell } from '../options.js';
import { runChild } from '../../workspace/queue/child.js';
import { hideArguments, queueUrl, shownUrl } from '../../workspace/queue/connection.js';
import { startWorker, type RunningWorker } from '../../workspace/queue/worker.js';

/** What commander gives the action. */
export interface WorkerFlags {
  readonly queue?: string;
  readonly name?: string;
  readonly concurrency: number;
  readonly once?: true;
  readonly drain?: true;
  readonly lock: number;
  readonly folders?: readonly string[];
  readonly child?: true;
}

/**
 * Makes runs that `lowrank ablate --queue` has queued.
 * @throws InterruptedError after a signal, when the runs that were on are back in the queue with their checkpoints.
 */
export async function runWorker({
  queue,
  name = `${hostname()}-${process.pid}`,
  concurrency,
  once,
  drain,
  lock,
  folders,
  child,
}: WorkerFlags): Promise<void> {
  if (child === true) return runChild();
  if (queue === undefined)
    throw new ConfigError('--queue is missing: redis://host[:port], or LOWRANK_QUEUE in the environment');
  const url = queueUrl(queue);
  hideArguments('lowrank worker');
  let worker: RunningWorker | undefined;
  const interrupts = watchInterrupts(() => {
    tell(`${name}: stopping after this micro-batch; once more to stop at once`);
    worker?.stop();
  });
  try {
    worker = await startWorker({
      url,
      name,
      concurrency,
      once: once === true,
      drain: drain === true,
      lockSeconds: lock,
      folders,
      log: (line) => tell(`${name}: ${line}`),
    });
    if (interrupts.signal !== undefined) worker.stop();
    tell(`${name}: takes runs from ${shownUrl(url)}`);
    const { done, failed } = await worker.ended;
    tell(`${name}: ${done} runs done, ${failed} failed`);
  } finally {
    interrupts.stop();
  }
  if (interrupts.signal !== undefined)
    throw new InterruptedError(interrupts.signal, 'stopped; the runs that were on go on with the next worker');
}
