import { chooseVariant } from '../../../runtime/variant.js';
import { gpuDispatch, gpuIsSoftware, gpuLimits } from '../../../runtime/webgpu/dispatch.js';
import { BUSY_GROUPS } from '../dispatches.js';
import { JobText, type GpuJob } from '../job-text.js';
import { shaderPrelude } from '../shader-prelude.js';
import * as wgsl from './wgsl.generated.js';

/** Invocations have ROWS rows of their slice's tile and COLUMNS times four columns. */
const SHAPES = {
  /** Reads least, for products with tiles enough to keep a large GPU busy. */
  large: { TILE_M: 128, TILE_N: 128, TILE_K: 16, ROWS: 8, COLUMNS: 2, SLICES: 1 },
  square: { TILE_M: 64, TILE_N: 64, TILE_K: 16, ROWS: 8, COLUMNS: 1, SLICES: 1 },
  small: { TILE_M: 32, TILE_N: 32, TILE_K: 16, ROWS: 4, COLUMNS: 1, SLICES: 1 },
  /** For few columns and long sums, which four slices share. */
  thin: { TILE_M: 32, TILE_N: 16, TILE_K: 16, ROWS: 4, COLUMNS: 1, SLICES: 4 },
} as const;

/** Buffers that a dispatch of these jobs binds. */
export function tiledBuffers(jobs: readonly GpuJob[]): number {
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

/** Records jobs in one dispatch. @param thin all have few columns */
export function tiledGroup(backend: unknown, jobs: readonly GpuJob[], thin: boolean): void {
  const { name: variant, traits } = chooseVariant(backend);
  const shape = thin ? 'thin' : shapeFor(backend, jobs);
  const { TILE_M, TILE_N, ROWS, COLUMNS } = SHAPES[shape];
  const software = gpuIsSoftware(backend);
  const text = new JobText(jobs, {
    main: wgsl.group,
    stage: wgsl.stage,
    counts: { columns: COLUMNS, stores: software ? 0 : ROWS * COLUMNS, loops: software ? COLUMNS : 0 },
  });
  // Sums of slices pass through the tiles' memory, which must not round them.
  const halfTiles = traits.halfTiles && !thin;
  const program = {
    name: `products/${shape}/${variant}/${text.key}`,
    code: () => [shaderPrelude({ ...traits, halfTiles }, SHAPES[shape]), text.code(software)].join('\n'),
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
