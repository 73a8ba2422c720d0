import { gpuLimits } from '../../runtime/webgpu/dispatch.js';
import type { GpuJob, GpuSegment } from './job-text.js';

/** As many workgroups as keep a large GPU busy: below that, tiles are smaller. */
export const BUSY_GROUPS = 96;

/** How some jobs are done in one dispatch. */
export interface Way {
  readonly buffers: (jobs: readonly GpuJob[]) => number;
  readonly record: (jobs: readonly GpuJob[]) => void;
}

/**
 * Records independent products in as few dispatches as bind no more buffers than a shader may; one with many outputs
 * goes to several that have some of its rows each, one with many segments to several that add up.
 */
export function inDispatches(backend: unknown, jobs: readonly GpuJob[], { buffers, record }: Way): void {
  const most = gpuLimits(backend).maxStorageBuffersPerShaderStage;
  let together: GpuJob[] = [];
  const flush = (): void => {
    if (together.length > 0) record(together);
    together = [];
  };
  for (const job of jobs) {
    if (buffers([...together, job]) > most) flush();
    for (const piece of buffers([job]) > most ? split(job, most, buffers) : [job]) {
      if (piece.accumulate === true || buffers([...together, piece]) > most) flush();
      together.push(piece);
    }
  }
  flush();
}

function split(job: GpuJob, most: number, buffers: Way['buffers']): GpuJob[] {
  return byOutputs(job, most, buffers).flatMap((some) => bySegments(some, most, buffers));
}

/** The job as several with as many of its outputs as a shader may bind beside any one segment. */
function byOutputs(job: GpuJob, most: number, buffers: Way['buffers']): GpuJob[] {
  const fits = (outs: GpuJob['outs']): boolean =>
    job.segments.every((segment) => buffers([{ ...job, outs, segments: [segment] }]) <= most);
  const groups: (readonly GpuJob['outs'][number][])[] = [];
  for (const out of job.outs) {
    const last = groups.at(-1);
    if (last !== undefined && fits([...last, out])) groups[groups.length - 1] = [...last, out];
    else groups.push([out]);
  }
  let first = 0;
  return groups.map((outs) => {
    const begin = first;
    const m = outs.reduce((sum, { rows }) => sum + rows, 0);
    first += m;
    const segments = job.segments.map((segment): GpuSegment => {
      const { a, aAlongK } = segment;
      return { ...segment, a: { ...a, offset: a.offset + begin * (aAlongK ? a.stride : 1) } };
    });
    return { ...job, m, outs, segments };
  });
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
