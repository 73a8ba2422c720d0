import * as tf from '@tensorflow/tfjs-core';
import { finishJobs } from '../../kernels/index.js';

/** Runs of one kernel. */
export interface KernelRuns {
  readonly name: string;
  readonly runs: number;
  /** Without what ran inside it. On a GPU this is the host's part: recording. Threads are waited for. */
  readonly hostMs: number;
}

export interface Observed<T> {
  readonly value: T;
  /** Slowest first. */
  readonly kernels: readonly KernelRuns[];
  readonly runs: number;
  /** The most bytes that tensors held at once. */
  readonly peakBytes: number;
}

/**
 * Runs `body` and counts the kernels that tfjs's engine runs for it. Slower than without: not for timing as a whole.
 */
export function observeKernels<T>(body: () => T): Observed<T> {
  const engine = tf.engine();
  const run = engine.runKernel.bind(engine);
  const found = new Map<string, { runs: number; hostMs: number }>();
  let peakBytes = tf.memory().numBytes;
  let innerMs = 0;
  const observed: typeof engine.runKernel = (name, inputs, attrs) => {
    const before = innerMs;
    innerMs = 0;
    const start = performance.now();
    const output = run(name, inputs, attrs);
    finishJobs(tf.backend());
    const ms = performance.now() - start;
    const entry = found.get(name) ?? { runs: 0, hostMs: 0 };
    found.set(name, { runs: entry.runs + 1, hostMs: entry.hostMs + ms - innerMs });
    innerMs = before + ms;
    peakBytes = Math.max(peakBytes, tf.memory().numBytes);
    return output as never;
  };
  Object.defineProperty(engine, 'runKernel', { value: observed, configurable: true, writable: true });
  try {
    const value = body();
    const kernels = [...found].map(([name, entry]) => ({ name, ...entry })).sort((a, b) => b.hostMs - a.hostMs);
    return { value, kernels, runs: kernels.reduce((sum, k) => sum + k.runs, 0), peakBytes };
  } finally {
    // The method of the class shows through again.
    Reflect.deleteProperty(engine, 'runKernel');
  }
}
