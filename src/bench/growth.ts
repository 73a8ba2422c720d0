import * as tf from '@tensorflow/tfjs-core';
import { valueAndGradients } from '../../kernels/index.js';
import type { Embedding } from '../model/embedding.js';
import type { Quantize } from './decoder.js';
import { median } from './measure.js';
import { watchMemory } from './memory.js';
import { weightValues } from './random.js';
import type { Dims } from './shapes.js';
import { BenchStep } from './train-step.js';

export interface GrowthOptions {
  /** Of the model; the time is taken of rows of its `seq` tokens. */
  readonly dims: Dims;
  readonly rank: number;
  readonly quantize: Quantize;
  readonly gradientCheckpointing?: boolean;
  readonly steps: number;
  readonly warmup: number;
  /** Tokens of the batches that are timed. */
  readonly tokens: readonly number[];
  /** Lengths of the one row whose memory is measured. */
  readonly lengths: readonly number[];
  /** Bytes that a plan says a step takes. */
  readonly plannedBytes: (dims: Dims) => number;
  /**
   * Processor time that this process has taken so far, where the surroundings can tell: what others do on a busy
   * machine disturbs it less.
   */
  readonly processCpuMs?: () => number;
  readonly onPhase?: (what: string) => void;
}

/** The rank whose cost is asked for. */
const OVERHEAD_RANK = 16;

export interface GrowthMeasurement {
  readonly time: readonly {
    readonly tokens: number;
    readonly step_ms: number;
    readonly cpu_ms: number | null;
    readonly tokens_per_second: number;
    /** From the line, relative. */ readonly deviation: number;
  }[];
  /** step_ms ≈ fixed_ms + ms_per_token · tokens, of least relative squares. */
  readonly line: GrowthLine;
  /** The same of processor time. */
  readonly cpu_line: GrowthLine | null;
  readonly memory: readonly {
    readonly length: number;
    readonly planned_bytes: number;
    readonly measured_bytes: number;
    /** measured / planned. */ readonly ratio: number;
  }[];
  /** Forward pass and gradient of the input through all layers, without and with adapters, in alternation. */
  readonly adapters: {
    readonly rank: number;
    readonly without_ms: number;
    readonly with_ms: number;
    readonly overhead: number;
    readonly cpu_overhead: number | null;
  };
}

export interface GrowthLine {
  readonly fixed_ms: number;
  readonly ms_per_token: number;
  readonly worst_deviation: number;
}

/** Medians. */
interface Timing {
  readonly ms: number;
  readonly cpuMs: number | null;
}

/** How time and memory of a step grow, and what adapters add to it. */
export async function benchGrowth(options: GrowthOptions): Promise<GrowthMeasurement> {
  const { dims, lengths, onPhase } = options;
  const times = await timesOf(options);
  const line = lineThrough(times);
  const ofCpu = times.flatMap(({ tokens: count, cpu_ms: ms }) => (ms === null ? [] : [{ tokens: count, step_ms: ms }]));
  const memory = [];
  for (const length of lengths) {
    onPhase?.(`memory of a row of ${length} tokens`);
    const sized = { ...dims, batch: 1, seq: length };
    const [planned, measured] = [options.plannedBytes(sized), await bytesOf(sized, options)];
    memory.push({ length, planned_bytes: planned, measured_bytes: measured, ratio: measured / planned });
  }
  onPhase?.('what adapters add');
  return {
    time: times.map((point) => ({
      ...point,
      tokens_per_second: (1000 * point.tokens) / point.step_ms,
      deviation: deviationFrom(line, point),
    })),
    line,
    cpu_line: ofCpu.length === 0 ? null : lineThrough(ofCpu),
    memory,
    adapters: await adapterOverhead(options),
  };
}

interface Point {
  readonly tokens: number;
  readonly step_ms: number;
}

function lineThrough(points: readonly Point[]): GrowthLine {
  const line = fitLine(points);
  return { ...line, worst_deviation: Math.max(...points.map((point) => Math.abs(deviationFrom(line, point)))) };
}

function deviationFrom(line: Pick<GrowthLine, 'fixed_ms' | 'ms_per_token'>, { tokens, step_ms: ms }: Point): number {
  return ms / (line.fixed_ms + line.ms_per_token * tokens) - 1;
}

/** The line through (tokens, ms) whose relative errors have the least squares. */
export function fitLine(points: readonly Point[]): { fixed_ms: number; ms_per_token: number } {
  let [w, wx, wxx, wy, wxy] = [0, 0, 0, 0, 0];
  for (const { tokens: x, step_ms: y } of points) {
    const weight = 1 / (y * y);
    w += weight;
    wx += weight * x;
    wxx += weight * x * x;
    wy += weight * y;
    wxy += weight * x * y;
  }
  const determinant = w * wxx - wx * wx;
  // One point, or several of one size: a line through the origin.
  if (determinant <= 1e-12 * w * wxx) return { fixed_ms: 0, ms_per_token: wy / wx };
  return { fixed_ms: (wy * wxx - wxy * wx) / determinant, ms_per_token: (w * wxy - wx * wy) / determinant };
}

/** Steps of all sizes take turns, so that what else the machine does falls on each. */
async function timesOf({
  dims,
  rank,
  quantize,
  gradientCheckpointing,
  steps,
  warmup,
  tokens,
  processCpuMs,
  onPhase,
}: GrowthOptions): Promise<{ tokens: number; step_ms: number; cpu_ms: number | null }[]> {
  const sizes = tokens.map((count) => ({
    rows: Math.max(1, Math.round(count / dims.seq)),
    timer: new Timer(processCpuMs),
  }));
  const step = BenchStep.create(dims, rank, quantize, gradientCheckpointing);
  try {
    for (let round = 0; round < warmup + steps; round++) {
      onPhase?.(`steps of each number of tokens, ${round + 1} of ${warmup + steps}`);
      for (const { rows, timer } of sizes) {
        step.setRows(rows);
        await timer.time(async () => drained(step.run()), round >= warmup);
      }
    }
  } finally {
    step.dispose();
  }
  return sizes.map(({ rows, timer }) => {
    const { ms, cpuMs } = timer.medians();
    return { tokens: rows * dims.seq, step_ms: ms, cpu_ms: cpuMs };
  });
}

/**
 * The most bytes that the tensors of a model and its step hold at once, those between the kernels of an op included.
 */
async function bytesOf(dims: Dims, { rank, quantize, gradientCheckpointing }: GrowthOptions): Promise<number> {
  const watch = watchMemory();
  try {
    const step = BenchStep.create(dims, rank, quantize, gradientCheckpointing);
    try {
      // Rotary tables are made in the first step, and quantising the weights takes memory that the step does not.
      await drained(step.run());
      watch.reset();
      await drained(step.run());
      return watch.peak;
    } finally {
      step.dispose();
    }
  } finally {
    watch.stop();
  }
}

async function adapterOverhead({
  dims,
  quantize,
  steps,
  warmup,
  processCpuMs,
}: GrowthOptions): Promise<GrowthMeasurement['adapters']> {
  const step = BenchStep.create(dims, OVERHEAD_RANK, quantize);
  const { decoder, adapter } = step;
  const { batch, seq, hidden } = dims;
  const x = tf.keep(tf.tensor2d(weightValues(batch * seq * hidden, 5), [batch * seq, hidden]));
  const ids = tf.keep(tf.zeros([batch * seq], 'int32')) as tf.Tensor1D;
  const own = decoder.embedding;
  // The gradient of what the first layer reads is wanted, not that of a token.
  const given: Embedding = { name: own.name, forward: () => tf.clone(x) };
  const run = async (): Promise<void> => {
    const { value, gradients } = valueAndGradients(
      () => tf.sum<tf.Scalar>(decoder.hidden({ ids, batch, length: seq })),
      [x],
    );
    tf.dispose(gradients);
    await drained(value);
  };
  const [plain, adapted] = [new Timer(processCpuMs), new Timer(processCpuMs)];
  try {
    for (let i = 0; i < warmup + steps; i++) {
      for (const attached of [false, true]) {
        if (attached) adapter.attach();
        else adapter.detach();
        decoder.embedding = given;
        await (attached ? adapted : plain).time(run, i >= warmup);
        decoder.embedding = own;
      }
    }
  } finally {
    tf.dispose([x, ids]);
    step.dispose();
  }
  const [without, together] = [plain.medians(), adapted.medians()];
  const cpu = without.cpuMs === null || together.cpuMs === null ? null : together.cpuMs / without.cpuMs - 1;
  return {
    rank: OVERHEAD_RANK,
    without_ms: without.ms,
    with_ms: together.ms,
    overhead: together.ms / without.ms - 1,
    cpu_overhead: cpu,
  };
}

async function drained(loss: tf.Scalar): Promise<number> {
  const value = (await loss.data())[0] as number;
  loss.dispose();
  return value;
}

/** Collects what repeated work takes. */
class Timer {
  private readonly wall: number[] = [];
  private readonly cpu: number[] = [];

  constructor(private readonly cpuMs: (() => number) | undefined) {}

  async time(work: () => Promise<unknown>, counts: boolean): Promise<void> {
    const [start, cpuStart] = [performance.now(), this.cpuMs?.() ?? 0];
    await work();
    if (!counts) return;
    this.wall.push(performance.now() - start);
    if (this.cpuMs !== undefined) this.cpu.push(this.cpuMs() - cpuStart);
  }

  medians(): Timing {
    return { ms: median(this.wall), cpuMs: this.cpu.length === 0 ? null : median(this.cpu) };
  }
}
