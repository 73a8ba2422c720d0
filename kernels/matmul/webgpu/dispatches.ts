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
 * Records independent products in as few dispatches as bind no more buffers than a shader may; one with many segments
 * goes to several that add up.
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
