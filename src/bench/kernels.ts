import * as tf from '@tensorflow/tfjs-core';
import {
  kernelVariant,
  setKernelVariant,
  withGpuClock,
  withKernelMode,
  type KernelMode,
  type KernelVariant,
} from '../../kernels/index.js';
import { backendVariants } from '../../kernels/runtime/variant.js';
import { ConfigError, DeviceError } from '../errors.js';
import type { Quantize } from './decoder.js';
import { kernelCases, type KernelCase, type PreparedKernel } from './kernel-cases.js';
import { median, relativeError, settle } from './measure.js';
import type { Dims } from './shapes.js';

export interface KernelBenchOptions {
  readonly dims: Dims;
  readonly rank: number;
  /** Only ops whose name contains this. */
  readonly op?: string | undefined;
  /** Times stock ops too. */
  readonly againstReference: boolean;
  /** Least time that one measurement takes. */
  readonly minMs: number;
  /** The code to run on WebGPU; `auto` goes through all that the device can run. Default `auto`. */
  readonly variant?: KernelVariant;
  /** GFLOP/s that the device can do at most, in float32 and with the matrices of subgroups. */
  readonly peaks?: { readonly f32?: number | undefined; readonly matrix?: number | undefined };
  readonly onResult?: (result: KernelResult) => void;
}

export interface KernelResult {
  readonly op: string;
  readonly pass: KernelCase['pass'];
  readonly weight: Quantize | '';
  /** On WebGPU. */
  readonly variant: KernelVariant | null;
  readonly size: string;
  /** ‖y − y'‖ / ‖y'‖ against stock ops, the worst over the outputs. */
  readonly error: number;
  /** One run among many that follow each other. */
  readonly ms: number;
  /** By the GPU's own clock. */
  readonly device_ms: number | null;
  /** Of the device's clock where there is one. */
  readonly gflops: number | null;
  /** `gflops` of the peak that was given for this variant. */
  readonly peak_share: number | null;
  /** Gigabytes a second. */
  readonly gbps: number | null;
  readonly reference_ms: number | null;
}

/** float16 factors: 2⁻¹¹ relative in each. */
const TOLERANCES: Readonly<Record<KernelVariant, number>> = {
  auto: 1e-4,
  f32: 1e-4,
  f16: 3e-3,
  'subgroup-matrix': 3e-3,
  subgroups: 1e-4,
  lanes: 1e-4,
};
/** Ops that a variant has code of its own for. */
const AFFECTED: Readonly<Record<KernelVariant, RegExp>> = {
  ...{
    auto: /^/,
    f32: /^/,
    f16: /^(linear|matmul|quantizedMatmul)/,
    'subgroup-matrix': /^(linear|matmul$|quantizedMatmul|crossEntropy|rowLogProbabilities)/,
  },
  subgroups: /^(matmul thin|linear|rmsNorm|layerNorm|attention|crossEntropy|rowLogProbabilities|globalNorm|embedding)/,
  lanes:
    /^(linear|matmul|quantizedMatmul|rmsNorm|layerNorm|attention|crossEntropy|rowLogProbabilities|globalNorm|embedding)/,
};
const BATCHES = 5;

/**
 * Times every op forward and backward, each after its result has been found equal to stock ops'. The check takes two
 * short rows at the same widths: stock ops need memory for every intermediate.
 * @throws DeviceError naming the ops that are wrong, after all others were timed; ConfigError when no op has that name.
 */
export async function benchKernels(options: KernelBenchOptions): Promise<KernelResult[]> {
  const { dims, rank, op, againstReference, minMs, onResult } = options;
  const small = kernelCases(
    { ...dims, batch: Math.min(dims.batch, 2), seq: Math.min(dims.seq, 33), vocab: Math.min(dims.vocab, 4001) },
    rank,
  );
  const cases = kernelCases(dims, rank).map((full, i) => ({ full, small: small[i] as KernelCase }));
  const chosen = cases.filter(({ full }) => op === undefined || full.op.includes(op));
  if (chosen.length === 0)
    throw new ConfigError(
      `--op ${op ?? ''}: no such op; there are ${[...new Set(cases.map((c) => c.full.op))].join(', ')}`,
    );
  const results: KernelResult[] = [];
  const wrong: string[] = [];
  const asked = kernelVariant();
  try {
    for (const { full, small: reduced } of chosen) {
      for (const variant of variantsFor(full.op, options.variant ?? 'auto')) {
        setKernelVariant(variant ?? asked);
        const error = await differenceFromReference(reduced);
        const allowed = TOLERANCES[variant ?? 'auto'];
        if (!(error <= allowed)) {
          wrong.push(
            `${[full.op, full.pass, full.weight, variant ?? ''].filter((part) => part !== '').join(' ')} by ${error.toExponential(1)} (allowed ${allowed})`,
          );
          continue;
        }
        const { ms, deviceMs } = await timeCase(full, 'auto', minMs);
        const reference = againstReference ? await timeCase(full, 'reference', minMs) : undefined;
        const { op: name, pass, weight, size, flop, bytes } = full;
        const rate = (amount: number | undefined): number | null =>
          amount === undefined ? null : amount / (deviceMs ?? ms) / 1e6;
        const gflops = rate(flop);
        const peak = variant === 'subgroup-matrix' ? options.peaks?.matrix : options.peaks?.f32;
        const share = gflops === null || peak === undefined ? null : gflops / peak;
        const result = {
          op: name,
          pass,
          weight,
          variant,
          size,
          error,
          ms,
          device_ms: deviceMs,
          gflops,
          peak_share: share,
          gbps: rate(bytes),
          reference_ms: reference?.ms ?? null,
        };
        results.push(result);
        onResult?.(result);
      }
    }
  } finally {
    setKernelVariant(asked);
  }
  if (wrong.length > 0) throw new DeviceError(`not timed, because they differ from stock ops: ${wrong.join('; ')}`);
  return results;
}

/** What an op is timed as. */
function variantsFor(op: string, wanted: KernelVariant): (KernelVariant | null)[] {
  if (tf.getBackend() !== 'webgpu') return [null];
  if (wanted !== 'auto') return [wanted];
  return backendVariants(tf.backend()).filter((variant) => AFFECTED[variant].test(op));
}

async function differenceFromReference(kernel: KernelCase): Promise<number> {
  const [own, stock] = [await outputsOf(kernel, 'auto'), await outputsOf(kernel, 'reference')];
  return stock.reduce((worst, values, i) => Math.max(worst, relativeError(own[i] as Float32Array, values)), 0);
}

async function outputsOf(kernel: KernelCase, mode: KernelMode): Promise<Float32Array[]> {
  const prepared = withKernelMode(mode, () => kernel.prepare());
  const outputs = withKernelMode(mode, () => prepared.run());
  const values: Float32Array[] = [];
  for (const tensor of [...outputs, ...(prepared.state ?? [])]) values.push((await tensor.data<'float32'>()).slice());
  tf.dispose(outputs);
  prepared.dispose();
  return values;
}

async function timeCase(
  kernel: KernelCase,
  mode: KernelMode,
  minMs: number,
): Promise<{ ms: number; deviceMs: number | null }> {
  const prepared = withKernelMode(mode, () => kernel.prepare());
  try {
    return await timePrepared(prepared, mode, minMs);
  } finally {
    prepared.dispose();
  }
}

/** Runs are asked for in batches, each waited for as a whole: a GPU answers late, and is kept busy so. */
async function timePrepared(
  prepared: PreparedKernel,
  mode: KernelMode,
  minMs: number,
): Promise<{ ms: number; deviceMs: number | null }> {
  const batch = async (runs: number): Promise<number> => {
    const start = performance.now();
    for (let i = 0; i < runs; i++) tf.dispose(withKernelMode(mode, () => prepared.run()));
    await settle();
    return performance.now() - start;
  };
  await batch(1);
  const once = await batch(1);
  const runs = Math.min(1000, Math.max(1, Math.ceil(minMs / BATCHES / Math.max(once, 0.001))));
  const times: number[] = [];
  for (let i = 0; i < BATCHES; i++) times.push((await batch(runs)) / runs);
  const { times: gpu } = await withGpuClock(tf.backend(), () => batch(runs));
  return { ms: median(times), deviceMs: gpu === undefined ? null : gpu.busyMs / runs };
}
