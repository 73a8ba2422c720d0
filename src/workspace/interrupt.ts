import { constants } from 'node:os';
import { LowrankError } from '../errors.js';

/** Ctrl-C, what schedulers send, and what a terminal sends that is closed. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

type StopSignal = (typeof STOP_SIGNALS)[number];

/**
 * A run that was stopped from outside and ended in order; the exit status is the shell's, 128 plus the signal's number.
 */
export class InterruptedError extends LowrankError {
  override readonly exitCode: number;

  constructor(signal: StopSignal, message: string) {
    super(message);
    this.exitCode = statusOf(signal);
  }
}

/** Listens for signals that ask for an end while something runs. */
export interface InterruptWatch {
  /** The first signal that came. */
  readonly signal: StopSignal | undefined;
  stop(): void;
}

/** The first signal only notes itself and calls `onFirst`; a second one ends the process at once. */
export function watchInterrupts(onFirst: () => void): InterruptWatch {
  let signal: StopSignal | undefined;
  const listen = (received: StopSignal): void => {
    if (signal !== undefined) process.exit(statusOf(received));
    signal = received;
    onFirst();
  };
  for (const each of STOP_SIGNALS) process.on(each, listen);
  return {
    get signal() {
      return signal;
    },
    stop() {
      for (const each of STOP_SIGNALS) process.off(each, listen);
    },
  };
}

/** What ends the process at a signal, where nothing can be gone on with later. */
export interface InterruptEnd {
  /** From now on a signal waits. */
  hold(): void;
  /** Signals end the process again, one that has waited at once. */
  resume(): void;
  /** Listens no more; a signal that has waited ends the process. */
  stop(): void;
}

/**
 * A signal ends the process with the shell's status, after `onSignal` and what listens for its exit. It is on hold at
 * first.
 */
export function endOnInterrupt(onSignal: () => void): InterruptEnd {
  let held = true;
  let waiting: StopSignal | undefined;
  const end = (signal: StopSignal): void => {
    onSignal();
    process.exit(statusOf(signal));
  };
  const listen = (signal: StopSignal): void => {
    waiting ??= signal;
    if (!held) end(signal);
  };
  for (const each of STOP_SIGNALS) process.on(each, listen);
  return {
    hold: () => void (held = true),
    resume() {
      held = false;
      if (waiting !== undefined) end(waiting);
    },
    stop() {
      for (const each of STOP_SIGNALS) process.off(each, listen);
      if (waiting !== undefined) process.exit(statusOf(waiting));
    },
  };
}

function statusOf(signal: StopSignal): number {
  return 128 + constants.signals[signal];
}
