import * as tf from '@tensorflow/tfjs-core';
import { matmul } from '../../kernels/index.js';
import type { Quantize } from './decoder.js';
import { deviceBytes } from './memory.js';
import { median } from './measure.js';
import { weightValues } from './random.js';
import type { Dims } from './shapes.js';
import { BenchStep } from './train-step.js';

export interface DriftOptions {
  readonly dims: Dims;
  readonly rank: number;
  readonly quantize: Quantize;
  readonly gradientCheckpointing?: boolean;
  /** Ten or more, after `warmup` others. */
  readonly steps: number;
  readonly warmup: number;
  /** Bytes of the process, and of it the JavaScript heap's, where the surroundings can tell. */
  readonly processBytes?: () => { readonly resident: number; readonly heap: number };
  readonly processCpuMs?: () => number;
  readonly onStep?: (step: number, ms: number) => void;
}

/** A pace is so many products of so many rows: a few hundredths of a step of `tiny`. */
const PACE_ROWS = 512;
const PACE_PRODUCTS = 4;

/** Medians over a tenth of the run. */
export interface DriftTenth {
  /** Its last step. */
  readonly step: number;
  readonly step_ms: number;
  /** Steps measured by the same few products of fixed size after each: what else the machine does slows both. */
  readonly paced: number;
  readonly cpu_ms: number | null;
  readonly tensors: number;
  readonly tensor_bytes: number;
  readonly device_bytes: number | null;
  readonly resident_bytes: number | null;
  readonly heap_bytes: number | null;
}

export interface DriftMeasurement {
  readonly steps: number;
  readonly tenths: readonly DriftTenth[];
  /** Last tenth to first, relative: 0.2 is a fifth more. */
  readonly drift: Readonly<Record<Exclude<keyof DriftTenth, 'step'>, number | null>>;
}

/**
 * Runs steps and says how their time, and the memory after them, changed from the first tenth of the run to the last.
 */
export async function benchDrift(options: DriftOptions): Promise<DriftMeasurement> {
  const { dims, rank, quantize, steps, warmup, processBytes, processCpuMs, onStep } = options;
  const step = BenchStep.create(dims, rank, quantize, options.gradientCheckpointing);
  const pace = new Pace(dims);
  const samples: Omit<DriftTenth, 'step'>[] = [];
  try {
    for (let i = 0; i < warmup + steps; i++) {
      const [start, cpuStart] = [performance.now(), processCpuMs?.()];
      const loss = step.run();
      await loss.data();
      loss.dispose();
      const ms = performance.now() - start;
      const cpuMs = processCpuMs === undefined || cpuStart === undefined ? null : processCpuMs() - cpuStart;
      const paced = ms / (await pace.ms());
      if (i < warmup) continue;
      const { numTensors, numBytes } = tf.memory();
      const bytes = processBytes?.();
      samples.push({
        ...{ step_ms: ms, paced, cpu_ms: cpuMs },
        ...{ tensors: numTensors, tensor_bytes: numBytes, device_bytes: deviceBytes() },
        ...{ resident_bytes: bytes?.resident ?? null, heap_bytes: bytes?.heap ?? null },
      });
      onStep?.(i - warmup + 1, ms);
    }
  } finally {
    pace.dispose();
    step.dispose();
  }
  const tenths = Array.from({ length: 10 }, (_, i) =>
    tenthOf(samples, Math.floor((i * steps) / 10), Math.floor(((i + 1) * steps) / 10)),
  );
  const [first, last] = [tenths[0] as DriftTenth, tenths[9] as DriftTenth];
  const change = (name: keyof DriftMeasurement['drift']): number | null => {
    const [before, after] = [first[name], last[name]];
    return before === null || after === null ? null : after / before - 1;
  };
  const names = [
    'step_ms',
    'paced',
    'cpu_ms',
    'tensors',
    'tensor_bytes',
    'device_bytes',
    'resident_bytes',
    'heap_bytes',
  ] as const;
  return {
    steps,
    tenths,
    drift: Object.fromEntries(names.map((name) => [name, change(name)])) as DriftMeasurement['drift'],
  };
}

function tenthOf(samples: readonly Omit<DriftTenth, 'step'>[], begin: number, end: number): DriftTenth {
  const slice = samples.slice(begin, end);
  const middle = (value: (sample: Omit<DriftTenth, 'step'>) => number | null): number | null => {
    const values = slice.map(value).filter((found) => found !== null);
    return values.length === 0 ? null : median(values);
  };
  return {
    ...{
      step: end,
      step_ms: middle((s) => s.step_ms) as number,
      paced: middle((s) => s.paced) as number,
      cpu_ms: middle((s) => s.cpu_ms),
    },
    ...{
      tensors: middle((s) => s.tensors) as number,
      tensor_bytes: middle((s) => s.tensor_bytes) as number,
      device_bytes: middle((s) => s.device_bytes),
    },
    ...{ resident_bytes: middle((s) => s.resident_bytes), heap_bytes: middle((s) => s.heap_bytes) },
  };
}

/** Work that is the same every time. */
class Pace {
  private readonly x: tf.Tensor2D;
  private readonly w: tf.Tensor2D;

  constructor({ batch, seq, hidden, ffn }: Dims) {
    const rows = Math.min(batch * seq, PACE_ROWS);
    this.x = tf.tensor2d(weightValues(rows * hidden, 7), [rows, hidden]);
    this.w = tf.tensor2d(weightValues(ffn * hidden, 8), [ffn, hidden]);
  }

  /** What it takes now. */
  async ms(): Promise<number> {
    const start = performance.now();
    const products = Array.from({ length: PACE_PRODUCTS }, () => matmul(this.x, this.w, 'nt'));
    await products.at(-1)?.data();
    tf.dispose(products);
    return performance.now() - start;
  }

  dispose(): void {
    tf.dispose([this.x, this.w]);
  }
}
