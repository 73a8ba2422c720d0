import { gpuDispatchCount, replayAllowed, setReplay } from '../../kernels/index.js';
import { flush, gpuBackend, replaceGpuMethod } from '../../kernels/tfjs/webgpu.js';
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
  const start = performance.now();
  const loss = step.run();
  flush(gpuBackend());
  const ms = performance.now() - start;
  // The next one begins with the device at rest.
  await loss.data();
  loss.dispose();
  return ms;
}

async function countDispatches(step: BenchStep): Promise<number> {
  const gpu = gpuBackend();
  let stock = 0;
  const restore = replaceGpuMethod(gpu, 'runProgram', (run) => (...args) => {
    stock++;
    return run(...args);
  });
  const before = gpuDispatchCount(gpu);
  try {
    await hostMs(step);
  } finally {
    restore();
  }
  return stock + gpuDispatchCount(gpu) - before;
}
