import type { TensorInfo } from '@tensorflow/tfjs-core';
import { chooseVariant } from '../runtime/variant.js';
import { gpuDispatch, gpuIsSoftware, gpuLimits } from '../runtime/webgpu.js';
import { lanesJob, runsByLanes } from './gpu-lanes.js';
import { head } from './head.js';
import {
  BUSY_GROUPS,
  matrixBuffers,
  matrixDispatch,
  packJobs,
  releasePacked,
  suitsMatrices,
} from './matrix-products.js';
import { JobText, type GpuJob, type GpuSegment, type GpuView } from './job-text.js';
import * as wgsl from './wgsl.generated.js';

export type { GpuJob, GpuSegment, GpuView } from './job-text.js';

/** Invocations have ROWS rows of their slice's tile and COLUMNS times four columns. */
const SHAPES = {
  /** Reads least, for products with tiles enough to keep a large GPU busy. */
  large: { TILE_M: 128, TILE_N: 128, TILE_K: 16, ROWS: 8, COLUMNS: 2, SLICES: 1 },
  square: { TILE_M: 64, TILE_N: 64, TILE_K: 16, ROWS: 8, COLUMNS: 1, SLICES: 1 },
  small: { TILE_M: 32, TILE_N: 32, TILE_K: 16, ROWS: 4, COLUMNS: 1, SLICES: 1 },
  /** For few columns and long sums, which four slices share. */
  thin: { TILE_M: 32, TILE_N: 16, TILE_K: 16, ROWS: 4, COLUMNS: 1, SLICES: 4 },
} as const;

/** A matrix by itself. */
export function wholeView(tensor: TensorInfo): GpuView {
  return { tensor, offset: 0, stride: tensor.shape[tensor.shape.length - 1] as number };
}

/**
 * Records independent products, in one dispatch where a shader may bind all their buffers; else a job goes to a later
 * one, and one with many segments to several that add up.
 *
 * @param thin all have few columns
 */
export function gpuProducts(backend: unknown, jobs: readonly GpuJob[], thin = false): void {
  if (runsByLanes(backend, jobs)) {
    for (const job of jobs) lanesJob(backend, job);
    return;
  }
  const { unit } = chooseVariant(backend);
  const suited = unit === undefined || thin ? [] : jobs.filter((job) => suitsMatrices(backend, job));
  if (unit !== undefined && suited.length > 0) {
    for (const group of packJobs(backend, unit, suited)) {
      const way = {
        buffers: (some: readonly GpuJob[]) => matrixBuffers(some, group.rows),
        record: (some: readonly GpuJob[]) => matrixDispatch(backend, unit, some, group.rows),
      };
      inDispatches(backend, group.jobs, way);
      releasePacked(backend, group);
    }
  }
  inDispatches(backend, suited.length === 0 ? jobs : jobs.filter((job) => !suited.includes(job)), {
    buffers: bufferCount,
    record: (some) => dispatch(backend, some, thin),
  });
}

/** How some jobs are done in one dispatch. */
interface Way {
  readonly buffers: (jobs: readonly GpuJob[]) => number;
  readonly record: (jobs: readonly GpuJob[]) => void;
}

function inDispatches(backend: unknown, jobs: readonly GpuJob[], { buffers, record }: Way): void {
  const most = gpuLimits(backend).maxStorageBuffersPerShaderStage;
  let together: GpuJob[] = [];
  const flush = (): void => {
    if (together.length > 0) record(together);
    together = [];
  };
  for (const job of jobs) {
    if (buffers([...together, job]) > most) flush();
    for (const piece of buffers([job]) > most ? bySegments(job, most, buffers) : [job]) {
      if (piece.accumulate === true || buffers([...together, piece]) > most) flush();
      together.push(piece);
    }
  }
  flush();
}

/** The job as several that add up, each with as many segments as a shader may bind. */
function bySegments(job: GpuJob, most: number, buffers: Way['buffers']): GpuJob[] {
  const pieces: GpuJob[] = [];
  let segments: GpuSegment[] = [];
  const piece = (): GpuJob => ({
    ...job,
    segments,
    ...(pieces.length === 0 ? {} : { bias: undefined, accumulate: true }),
  });
  for (const segment of job.segments) {
    if (segments.length > 0 && buffers([{ ...piece(), segments: [...segments, segment] }]) > most) {
      pieces.push(piece());
      segments = [];
    }
    segments.push(segment);
  }
  return [...pieces, piece()];
}

function bufferCount(jobs: readonly GpuJob[]): number {
  const { outs, inputs } = new JobText(jobs);
  return outs.length + inputs.length;
}

/** Whether these have enough large tiles, and the device memory for them. */
export function suitsLargeTiles(backend: unknown, jobs: readonly GpuJob[]): boolean {
  const { TILE_M, TILE_N, TILE_K } = SHAPES.large;
  const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup } = gpuLimits(backend);
  // With a quad of padding a row, and tables of 4-bit codes.
  const bytes = 4 * TILE_K * (TILE_M + TILE_N + 8) + 1024;
  const groups = jobs.reduce((sum, { m, n }) => sum + Math.ceil(m / TILE_M) * Math.ceil(n / TILE_N), 0);
  return groups >= BUSY_GROUPS && bytes <= maxComputeWorkgroupStorageSize && maxComputeInvocationsPerWorkgroup >= 256;
}

function shapeFor(backend: unknown, jobs: readonly GpuJob[]): keyof typeof SHAPES {
  if (suitsLargeTiles(backend, jobs)) return 'large';
  return jobs.every(({ m, n }) => m <= 32 || n <= 32) ? 'small' : 'square';
}

function dispatch(backend: unknown, jobs: readonly GpuJob[], thin: boolean): void {
  const { name: variant, traits } = chooseVariant(backend);
  const shape = thin ? 'thin' : shapeFor(backend, jobs);
  const { TILE_M, TILE_N, ROWS, COLUMNS } = SHAPES[shape];
  const software = gpuIsSoftware(backend);
  const text = new JobText(jobs, {
    main: wgsl.jobs,
    stage: wgsl.stage,
    counts: { columns: COLUMNS, stores: software ? 0 : ROWS * COLUMNS, loops: software ? COLUMNS : 0 },
  });
  // Sums of slices pass through the tiles' memory, which must not round them.
  const halfTiles = traits.halfTiles && !thin;
  const program = {
    name: `products/${shape}/${variant}/${text.key}`,
    code: () => [head({ ...traits, halfTiles }, SHAPES[shape]), text.code(software)].join('\n'),
    constants: text.constants,
  };
  let [groups, segments] = [0, 0];
  const params: (readonly ['u' | 'i' | 'f', number])[] = [];
  for (const { m, n, segments: own, bias } of jobs) {
    const across = Math.ceil(n / TILE_N);
    params.push(
      ['u', m],
      ['u', n],
      ['u', groups],
      ['u', across],
      ['u', segments],
      ['u', segments + own.length],
      ['u', bias?.offset ?? 0],
      ['u', 0],
    );
    groups += across * Math.ceil(m / TILE_M);
    segments += own.length;
  }
  const y = Math.ceil(groups / 65535);
  gpuDispatch(
    backend,
    program,
    [...text.outs, ...text.inputs],
    [...params, ...text.params()],
    [Math.ceil(groups / y), y, 1],
  );
}
