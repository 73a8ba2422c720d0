import * as tf from '@tensorflow/tfjs-core';
import { kernelVariant, type KernelMode, type KernelVariant } from '../../../kernels/index.js';
import { threadCount } from '../../../kernels/runtime/threads/threads.js';
import type { Quantize } from '../../bench/decoder.js';
import { benchKernels } from '../../bench/kernels.js';
import { SHAPES, type Dims, type ShapeName } from '../../bench/shapes.js';
import { benchStep } from '../../bench/step.js';
import type { Device, DeviceChoice } from '../../device/device.js';
import { openDevice } from '../../device/open.js';
import { nodeHost } from '../../node.js';
import { VERSION } from '../../version.js';
import { renderKernels, renderStep, type BenchHeading } from '../view/bench-report.js';
import { describeDevice, tell } from '../options.js';
import { print } from '../view/terminal.js';

export interface BenchFlags {
  readonly shape: ShapeName;
  readonly device: DeviceChoice;
  readonly batch?: number;
  readonly seq?: number;
  readonly layers?: number;
  readonly rank: number;
  readonly threads?: number;
  readonly variant?: KernelVariant;
  /** False with `--no-replay`. */
  readonly replay?: boolean;
  readonly json?: true;
}

export interface StepFlags extends BenchFlags {
  readonly quantize: Quantize;
  readonly kernels: KernelMode;
  readonly gradientCheckpointing?: true;
  readonly steps: number;
  readonly warmup: number;
  readonly peak?: number;
}

export interface KernelFlags extends BenchFlags {
  readonly op?: string;
  readonly against?: 'reference';
  readonly minMs: number;
  readonly peak?: number;
  readonly matrixPeak?: number;
}

/** Times whole steps. */
export async function runStepBench(flags: StepFlags): Promise<void> {
  await onDevice(flags, async (device) => {
    const { quantize, kernels, steps, warmup, rank, peak } = flags;
    const measured = await benchStep(device, {
      ...{ dims: dimsOf(flags), rank, quantize, kernels, steps, warmup, peakGflops: peak },
      gradientCheckpointing: flags.gradientCheckpointing === true,
      processPeakBytes: () => 1024 * process.resourceUsage().maxRSS,
      processCpuMs: () => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1000;
      },
      onPhase: tell,
    });
    const report = { ...heading('step', flags, device), dtype: 'f32', ...measured };
    print(flags.json === true ? `${JSON.stringify(report)}\n` : renderStep(report));
  });
}

/** Times every op. */
export async function runKernelBench(flags: KernelFlags): Promise<void> {
  await onDevice(flags, async (device) => {
    const results = await benchKernels({
      ...{
        dims: dimsOf(flags),
        rank: flags.rank,
        op: flags.op,
        againstReference: flags.against !== undefined,
        minMs: flags.minMs,
        variant: kernelVariant(),
      },
      peaks: { f32: flags.peak, matrix: flags.matrixPeak },
      onResult: ({ op, pass, weight, variant, ms }) => {
        tell(`${[op, pass, weight, variant ?? ''].filter((part) => part !== '').join(' ')}: ${ms.toFixed(3)} ms`);
      },
    });
    const report = { ...heading('kernels', flags, device), results };
    print(flags.json === true ? `${JSON.stringify(report)}\n` : renderKernels(report));
  });
}

/** Who measures, on what. */
export function heading(bench: string, { shape }: BenchFlags, device: Device): BenchHeading {
  const { name, description, software, features } = device;
  const threads = device.backend === 'wasm' ? threadCount(tf.backend()) : 1;
  return {
    ...{ bench, engine: 'lowrank', version: VERSION, versions: { node: process.versions.node, tfjs: tf.version_core } },
    ...{
      device: name,
      description,
      software,
      features,
      threads,
      shape,
      variant: device.backend === 'webgpu' ? kernelVariant() : null,
    },
  };
}

/** The shape with what the flags replace in it. */
export function dimsOf({ shape, batch, seq, layers }: BenchFlags): Dims {
  const dims: Dims = SHAPES[shape];
  return { ...dims, batch: batch ?? dims.batch, seq: seq ?? dims.seq, layers: layers ?? dims.layers };
}

/** Opens the device for the time of `work`. */
export async function onDevice(
  { device: choice, threads, variant, replay }: BenchFlags,
  work: (device: Device) => Promise<void>,
): Promise<void> {
  const device = await openDevice(choice, nodeHost, { threads, variant, replay: replay === false ? false : undefined });
  if (variant !== undefined && device.backend !== 'webgpu')
    tell(`--variant ${variant}: only WebGPU kernels have variants`);
  tell(describeDevice(device));
  try {
    await device.guard(work(device));
  } finally {
    await device.close();
  }
}
