import { fork, type ChildProcess } from 'node:child_process';
import type { ChildOrder, ChildReport, RunOrder } from './child.js';

export interface ChildEvents {
  readonly onStart: (child: ChildProcess) => void;
  readonly onEnd: () => void;
  /** Of notes and progress. */
  readonly onReport: (report: ChildReport) => void;
}

/**
 * How long a process waits for another run with its model loaded, in milliseconds: the memory is wanted elsewhere too.
 */
const IDLE_MS = 60_000;

/** Processes that make runs. One whose run went well waits for the next, with the base model still loaded. */
export class Processes {
  private readonly idle: ChildProcess[] = [];

  /** @param main of the command line */
  constructor(private readonly main = process.argv[1] ?? '') {}

  /**
   * Makes a run in a process of its own for that time. It is in a group of its own too: Ctrl-C in the terminal of the
   * worker would end it while it is starting.
   * @returns how it ended.
   */
  run(order: RunOrder, { onStart, onEnd, onReport }: ChildEvents): Promise<ChildReport> {
    const child =
      this.idle.pop() ??
      fork(this.main, ['worker', '--child'], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], detached: true });
    forget(child);
    onStart(child);
    return new Promise((resolve) => {
      let last: ChildReport | undefined;
      const end = (by: string): void => {
        forget(child);
        onEnd();
        resolve(last ?? { type: 'killed', by });
      };
      child.on('message', (report: ChildReport) => {
        if (report.type === 'note' || report.type === 'progress') return onReport(report);
        last = report;
        if (report.type !== 'done') return;
        end('');
        this.keep(child);
      });
      child.on('error', (error) => end(error.message));
      child.on('exit', (status, signal) => end(signal ?? `status ${status}`));
      // A process that is gone already says so by its events.
      if (child.connected) child.send(order satisfies ChildOrder, () => undefined);
    });
  }

  /** Ends those that wait. */
  close(): void {
    for (const child of this.idle.splice(0)) dismiss(child);
  }

  private keep(child: ChildProcess): void {
    this.idle.push(child);
    const leave = (): void => {
      const at = this.idle.indexOf(child);
      if (at >= 0) this.idle.splice(at, 1);
    };
    child.on('exit', leave);
    child.on('error', leave);
    setTimeout(() => {
      if (!this.idle.includes(child)) return;
      leave();
      dismiss(child);
    }, IDLE_MS).unref();
  }
}

/** Nobody listens any more. */
function forget(child: ChildProcess): void {
  for (const event of ['message', 'exit', 'error']) child.removeAllListeners(event);
  // An error without a listener would end this process.
  child.on('error', () => undefined);
}

/** It ends by itself, and takes its files with it. */
function dismiss(child: ChildProcess): void {
  if (child.connected) child.disconnect();
}
