import * as tf from '@tensorflow/tfjs-core';
import { gpuDispatchCount, replayAllowed, setReplay } from '../../kernels/index.js';
import type { BenchStep } from './train-step.js';

/**
 * JavaScript's share of a step on webgpu: until all of it is submitted, in microseconds a dispatch. The least of all
 * runs: what else the machine does only adds.
 */
export interface HostTimes {
  /** In a step, those of stock ops among them. */
  readonly dispatches: number;
  readonly eager_us: number;
  /** With its commands recorded before; null where such steps are not recorded. */
  readonly replayed_us: number | null;
}

interface Submitting {
  readonly commandEncoder: object | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** Steps until a recording is there. */
const RECORDING_STEPS = 6;

/** Times steps of either kind in turns, so that whatever else the machine does meets both. */
export async function hostTimes(step: BenchStep, runs: number): Promise<HostTimes> {
  const before = replayAllowed();
  try {
    setReplay(false);
    const dispatches = await countDispatches(step);
    setReplay(true);
    for (let i = 0; i < RECORDING_STEPS; i++) await hostMs(step);
    const [eager, replayed]: [number[], number[]] = [[], []];
    const done = step.replayed;
    for (let i = 0; i < runs; i++) {
      setReplay(false);
      eager.push(await hostMs(step));
      setReplay(true);
      replayed.push(await hostMs(step));
    }
    const each = (ms: readonly number[]): number => (1000 * Math.min(...ms)) / dispatches;
    return { dispatches, eager_us: each(eager), replayed_us: step.replayed - done === runs ? each(replayed) : null };
  } finally {
    setReplay(before);
  }
}

async function hostMs(step: BenchStep): Promise<number> {
  const gpu = tf.backend() as unknown as Submitting;
  const start = performance.now();
  const loss = step.run();
  if (gpu.commandEncoder !== null) {
    gpu.endComputePassEncoder();
    gpu.submitQueue();
  }
  const ms = performance.now() - start;
  // The next one begins with the device at rest.
  await loss.data();
  loss.dispose();
  return ms;
}

async function countDispatches(step: BenchStep): Promise<number> {
  const backend = tf.backend() as tf.KernelBackend & { runWebGPUProgram(...args: unknown[]): unknown };
  const run = backend.runWebGPUProgram.bind(backend);
  let stock = 0;
  backend.runWebGPUProgram = (...args) => {
    stock++;
    return run(...args);
  };
  const before = gpuDispatchCount(backend);
  try {
    await hostMs(step);
  } finally {
    // The method itself lies on the prototype.
    delete (backend as { runWebGPUProgram?: unknown }).runWebGPUProgram;
  }
  return stock + gpuDispatchCount(backend) - before;
}
