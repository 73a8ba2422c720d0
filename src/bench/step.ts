import * as tf from '@tensorflow/tfjs-core';
import {
  gpuDispatchCount,
  kernelMode,
  kernelVariant,
  replayAllowed,
  setReplay,
  withGpuClock,
  withKernelMode,
  type KernelMode,
} from '../../kernels/index.js';
import type { Device } from '../device/device.js';
import { DeviceError } from '../errors.js';
import type { Quantize } from './decoder.js';
import { hostTimes, type HostTimes } from './host-time.js';
import { deviceBytes } from './memory.js';
import { median, relativeError, settle } from './measure.js';
import { observeKernels } from './observe.js';
import { dimsList, hardwareFlops, reducedDims, stepFlops, type Dims } from './shapes.js';
import { BenchStep } from './train-step.js';

export interface StepBenchOptions {
  readonly dims: Dims;
  readonly rank: number;
  readonly quantize: Quantize;
  readonly kernels: KernelMode;
  /** Recomputes a layer's activations in the backward pass instead of keeping them. Default false. */
  readonly gradientCheckpointing?: boolean;
  readonly steps: number;
  readonly warmup: number;
  /** What the device can do at most, in GFLOP/s. */
  readonly peakGflops?: number | undefined;
  /** The most bytes this process has held, where the surroundings can tell. */
  readonly processPeakBytes?: () => number;
  /** Processor time that this process has taken so far, where the surroundings can tell. */
  readonly processCpuMs?: () => number;
  readonly onPhase?: (what: string) => void;
}

/** How far the step's own kernels are from stock ops, at sizes that stock ops can do. */
export interface StepCheck {
  readonly dims: readonly number[];
  /** Absolute, in nats. */
  readonly loss_difference: number;
  /** The worst ‖g − g'‖ / ‖g'‖ over the parameters. */
  readonly gradient_difference: number;
}

/** What was measured; the names that scripts/bench/torch_step.py prints too mean the same. */
export interface StepMeasurement {
  readonly dims: readonly number[];
  readonly rank: number;
  readonly quant: Quantize;
  readonly kernels: KernelMode;
  readonly gradient_checkpointing: boolean;
  readonly steps: number;
  readonly warmup: number;
  /** null where the reference itself is timed. */
  readonly check: StepCheck | null;
  /** Of the last step. */
  readonly loss: number;
  readonly step_ms_median: number;
  readonly step_ms_min: number;
  readonly step_ms_max: number;
  readonly tokens_per_second: number;
  /** Model FLOPs: what the step needs by `stepFlops`. */
  readonly flop_per_step: number;
  readonly gflops: number;
  /** Hardware FLOPs: what the own kernels do for it, by `hardwareFlops`. null where the reference itself is timed. */
  readonly hardware_flop_per_step: number | null;
  readonly hardware_gflops: number | null;
  readonly peak_share: number | null;
  /** Until the whole step was handed to the device. */
  readonly host_ms_median: number;
  /** Processor time of all threads: what others do on a busy machine disturbs it less. */
  readonly cpu_ms_median: number | null;
  /** The GPU's compute passes, by its own clock. */
  readonly device_ms_median: number | null;
  /** From the first pass to the end of the last. */
  readonly device_span_ms_median: number | null;
  /** On webgpu; with the step's commands recorded and replayed, and without. */
  readonly host_times: HostTimes | null;
  /** Whether the steps that were timed could be replayed. */
  readonly replay: boolean | null;
  /** This package's dispatches on the GPU in a step. */
  readonly dispatches: number | null;
  readonly kernel_runs: number;
  /** Host time of the kernels of one step, the slowest first. */
  readonly slowest_kernels: readonly { readonly name: string; readonly runs: number; readonly host_ms: number }[];
  readonly peak_tensor_bytes: number;
  /** What the device's heap or buffer pool has grown to. */
  readonly device_bytes: number | null;
  /** Of the whole process. */
  readonly peak_bytes: number | null;
}

/** float16 tiles: 2⁻¹¹ relative in each factor of a product, through all layers. */
const tolerances = (): { loss: number; gradient: number } =>
  ['f16', 'subgroup-matrix'].includes(kernelVariant())
    ? { loss: 3e-3, gradient: 1e-2 }
    : { loss: 1e-4, gradient: 1e-4 };
const SHOWN_KERNELS = 12;

/**
 * Checks one step against stock ops, then times it.
 * @throws DeviceError when the two differ: wrong kernels are not timed.
 */
export async function benchStep(device: Device, options: StepBenchOptions): Promise<StepMeasurement> {
  const { dims, rank, quantize, kernels, gradientCheckpointing = false, onPhase } = options;
  let check: StepCheck | null = null;
  if (kernels === 'auto') {
    onPhase?.('checking the step against stock ops');
    check = await checkStep(reducedDims(dims), rank, quantize, gradientCheckpointing);
    const allowed = tolerances();
    if (!(check.loss_difference <= allowed.loss && check.gradient_difference <= allowed.gradient)) {
      throw new DeviceError(
        `the step on ${device.name} is not timed: it differs from stock ops by ${check.loss_difference.toExponential(1)} in the loss (allowed ${allowed.loss}) and by ${check.gradient_difference.toExponential(1)} in a gradient (allowed ${allowed.gradient})`,
      );
    }
  }
  onPhase?.('making the model');
  const step = withKernelMode(kernels, () => BenchStep.create(dims, rank, quantize, gradientCheckpointing));
  try {
    await settle();
    const asked = {
      dims: dimsList(dims),
      rank,
      quant: quantize,
      kernels,
      gradient_checkpointing: gradientCheckpointing,
      steps: options.steps,
      warmup: options.warmup,
    };
    return { ...asked, check, ...(await timeStep(step, options)) };
  } finally {
    step.dispose();
  }
}

/** One step at these sizes with the kernels in force and with stock ops. */
export async function checkStep(
  dims: Dims,
  rank: number,
  quantize: Quantize,
  gradientCheckpointing = false,
): Promise<StepCheck> {
  const step = BenchStep.create(dims, rank, quantize, gradientCheckpointing);
  try {
    const own = await readGradients(step, kernelMode());
    const stock = await readGradients(step, 'reference');
    return {
      dims: dimsList(dims),
      loss_difference: Math.abs(own.loss - stock.loss),
      gradient_difference: stock.gradients.reduce(
        (worst, g, i) => Math.max(worst, relativeError(own.gradients[i] as Float32Array, g)),
        0,
      ),
    };
  } finally {
    step.dispose();
  }
}

async function readGradients(step: BenchStep, mode: KernelMode): Promise<{ loss: number; gradients: Float32Array[] }> {
  const { loss, gradients } = withKernelMode(mode, () => step.gradients());
  const values: Float32Array[] = [];
  for (const gradient of gradients) values.push((await gradient.data<'float32'>()).slice());
  const value = (await loss.data())[0] as number;
  tf.dispose([loss, gradients as tf.Tensor[]]);
  return { loss: value, gradients: values };
}

type Timings = Omit<
  StepMeasurement,
  'dims' | 'rank' | 'quant' | 'kernels' | 'gradient_checkpointing' | 'steps' | 'warmup' | 'check'
>;

async function timeStep(step: BenchStep, options: StepBenchOptions): Promise<Timings> {
  const { dims, kernels, steps, warmup, peakGflops, onPhase } = options;
  const onGpu = tf.getBackend() === 'webgpu';
  const read = async (loss: tf.Scalar): Promise<number> => {
    const value = (await loss.data())[0] as number;
    loss.dispose();
    return value;
  };
  const run = (): tf.Scalar => withKernelMode(kernels, () => step.run());
  onPhase?.('warming up');
  for (let i = 0; i < warmup; i++) await read(run());
  const dispatchesBefore = onGpu ? gpuDispatchCount(tf.backend()) : 0;
  // What is replayed runs no kernels.
  const replay = replayAllowed();
  setReplay(false);
  const observed = observeKernels(run);
  setReplay(replay);
  await read(observed.value);
  const dispatches = onGpu ? gpuDispatchCount(tf.backend()) - dispatchesBefore : null;
  onPhase?.('timing');
  const cpuNow = options.processCpuMs ?? ((): number => NaN);
  const [stepMs, hostMs, cpuMs]: [number[], number[], number[]] = [[], [], []];
  let loss = NaN;
  for (let i = 0; i < steps; i++) {
    const [start, cpuStart] = [performance.now(), cpuNow()];
    const value = run();
    hostMs.push(performance.now() - start);
    loss = await read(value);
    stepMs.push(performance.now() - start);
    cpuMs.push(cpuNow() - cpuStart);
  }
  const clocked = onGpu ? await clockSteps(async () => read(run()), Math.min(steps, 5)) : undefined;
  const host = onGpu && kernels === 'auto' ? await hostTimes(step, Math.max(5, steps)) : null;
  const middle = median(stepMs);
  const flop = stepFlops(dims);
  const gflops = flop / middle / 1e6;
  const done = kernels === 'auto' ? hardwareFlops(dims, options.rank, options.gradientCheckpointing === true) : null;
  return {
    loss,
    step_ms_median: middle,
    step_ms_min: Math.min(...stepMs),
    step_ms_max: Math.max(...stepMs),
    tokens_per_second: (1000 * step.tokens) / middle,
    flop_per_step: flop,
    gflops,
    hardware_flop_per_step: done,
    hardware_gflops: done === null ? null : done / middle / 1e6,
    peak_share: peakGflops === undefined ? null : gflops / peakGflops,
    host_ms_median: median(hostMs),
    cpu_ms_median: options.processCpuMs === undefined ? null : median(cpuMs),
    device_ms_median: clocked?.busyMs ?? null,
    device_span_ms_median: clocked?.spanMs ?? null,
    host_times: host,
    replay: onGpu ? replay : null,
    dispatches,
    kernel_runs: observed.runs,
    slowest_kernels: observed.kernels
      .slice(0, SHOWN_KERNELS)
      .map(({ name, runs, hostMs: ms }) => ({ name, runs, host_ms: ms })),
    peak_tensor_bytes: observed.peakBytes,
    device_bytes: deviceBytes(),
    peak_bytes: options.processPeakBytes?.() ?? null,
  };
}

/** Steps of their own: timestamps in every pass may cost something. */
async function clockSteps(
  step: () => Promise<unknown>,
  count: number,
): Promise<{ busyMs: number; spanMs: number } | undefined> {
  const [busy, span]: [number[], number[]] = [[], []];
  for (let i = 0; i < count; i++) {
    const { times } = await withGpuClock(tf.backend(), step);
    if (times === undefined) return undefined;
    busy.push(times.busyMs);
    span.push(times.spanMs);
  }
  return { busyMs: median(busy), spanMs: median(span) };
}
