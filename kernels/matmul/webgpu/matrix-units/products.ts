import type { MatrixUnit } from '../../../runtime/webgpu/matrix-unit.js';
import { gpuDispatch, gpuIsSoftware, gpuLimits, gpuRelease, type GpuParams } from '../../../runtime/webgpu/dispatch.js';
import { BUSY_GROUPS } from '../dispatches.js';
import { fill, JobText, type GpuJob, type GpuSegment, type JobShape } from '../job-text.js';
import { numbersText, packBuffers, packRows, perVector, type PackedRows, type PackedSource } from './pack.js';
import * as wgsl from './wgsl.generated.js';

/** How a workgroup divides its tile: subgroups, those beside each other along n, and what one of them computes. */
interface Division {
  readonly subgroups: number;
  readonly across: number;
  readonly m: number;
  readonly n: number;
  /** Vectors of four words in a row of a tile of A: the steps along k. */
  readonly depth: number;
}

/**
 * A large tile is read less often and keeps fewer workgroups busy; a small one is for subgroups of few invocations,
 * which have few registers between them.
 */
const DIVISIONS = {
  large: { subgroups: 8, across: 4, m: 64, n: 32, depth: 4 },
  medium: { subgroups: 4, across: 2, m: 32, n: 32, depth: 4 },
  small: { subgroups: 4, across: 2, m: 16, n: 16, depth: 2 },
} as const satisfies Record<string, Division>;

/** Packed matrices begin at multiples of this many vectors: no division goes further in a step. */
const DEPTH_ALIGN = 4;

/** Below this many rows, columns or products in a sum most of a tile would be padding. */
const LEAST = 16;

/** Whether the matrices of subgroups serve this job: A must lie along k, and all B one way. */
export function suitsMatrices(backend: unknown, { m, n, segments }: GpuJob): boolean {
  const [first] = segments;
  if (first === undefined || m < LEAST || n < LEAST || first.k < LEAST) return false;
  if (!segments.every(({ aAlongK, bAlongK }) => aAlongK && bAlongK === first.bAlongK)) return false;
  return packBuffers(sourcesOf(segments)) <= gpuLimits(backend).maxStorageBuffersPerShaderStage;
}

/** Jobs whose A are packed together, and how. */
export interface MatrixJobs {
  /** With their A as views of the packed rows. */
  readonly jobs: readonly GpuJob[];
  readonly rows: PackedRows;
}

/**
 * Records the packing of what jobs have on the left, those of equal rows and direction together where a shader may bind
 * it all.
 */
export function packJobs(backend: unknown, unit: MatrixUnit, jobs: readonly GpuJob[]): MatrixJobs[] {
  const groups: GpuJob[][] = [];
  const most = gpuLimits(backend).maxStorageBuffersPerShaderStage;
  for (const job of jobs) {
    const group = groups.find(
      ([other]) => other?.m === job.m && other.segments[0]?.bAlongK === job.segments[0]?.bAlongK,
    );
    const together = [...(group ?? []), job];
    if (group !== undefined && packBuffers(sourcesOf(together.flatMap(({ segments }) => segments))) <= most)
      group.push(job);
    else groups.push([job]);
  }
  return groups.map((group) => {
    const sources = sourcesOf(group.flatMap(({ segments }) => segments));
    const rows = packRows(backend, unit, (group[0] as GpuJob).m, DEPTH_ALIGN * perVector(unit), sources);
    const viewOf = (segment: GpuSegment): GpuSegment => {
      const first = rows.firsts[sources.findIndex((source) => isSame(source, segment))] as number;
      return { ...segment, a: { tensor: rows.packed, offset: first, stride: rows.width } };
    };
    return { rows, jobs: group.map((job) => ({ ...job, segments: job.segments.map(viewOf) })) };
  });
}

/** Gives back what packing made. */
export function releasePacked(backend: unknown, { rows }: MatrixJobs): void {
  for (const tensor of [rows.packed, rows.unscale]) gpuRelease(backend, tensor);
}

/** Buffers that a dispatch of these jobs binds. */
export function matrixBuffers(jobs: readonly GpuJob[], { packed, unscale }: PackedRows): number {
  const { outs, inputs } = new JobText(jobs, { main: '', stage: '', packed: [packed, unscale] });
  return outs.length + inputs.length;
}

/** Records jobs over packed rows in one dispatch. */
export function matrixDispatch(
  backend: unknown,
  unit: MatrixUnit,
  jobs: readonly GpuJob[],
  { packed, unscale }: PackedRows,
): void {
  const name = divisionFor(backend, unit, jobs);
  const division = DIVISIONS[name];
  const alongK = jobs[0]?.segments[0]?.bAlongK === true;
  const text = new JobText(jobs, { ...shapeOf(unit, division, alongK), packed: [packed, unscale] });
  const { element, m, n, k, lanes, emulated } = unit;
  const program = {
    name: `matrix/${name}/${[element, m, n, k, lanes, emulated].join('.')}/${alongK}/${text.key}`,
    code: () => [head(unit, division, alongK), text.code(gpuIsSoftware(backend))].join('\n'),
    constants: text.constants,
  };
  const tile = tileOf(division);
  let [groups, segments] = [0, 0];
  const params: (readonly ['u', number])[] = [];
  for (const job of jobs) {
    const across = Math.ceil(job.n / tile.n);
    const own = segments + job.segments.length;
    params.push(
      ...[job.m, job.n, groups, across, segments, own, job.bias?.offset ?? 0, 0].map((value) => ['u', value] as const),
    );
    groups += across * Math.ceil(job.m / tile.m);
    segments = own;
  }
  const y = Math.ceil(groups / 65535);
  const all: GpuParams = [...params, ...text.params()];
  gpuDispatch(backend, program, [...text.outs, ...text.inputs], all, [Math.ceil(groups / y), y, 1]);
}

function tileOf({ subgroups, across, m, n }: Division): { readonly m: number; readonly n: number } {
  return { m: (subgroups / across) * m, n: across * n };
}

function divisionFor(backend: unknown, unit: MatrixUnit, jobs: readonly GpuJob[]): keyof typeof DIVISIONS {
  if (unit.lanes < 16 || unit.emulated) return 'small';
  const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup } = gpuLimits(backend);
  const tile = tileOf(DIVISIONS.large);
  const groups = jobs.reduce((sum, job) => sum + Math.ceil(job.m / tile.m) * Math.ceil(job.n / tile.n), 0);
  const fits =
    memoryOf(unit, DIVISIONS.large) <= maxComputeWorkgroupStorageSize &&
    unit.lanes * DIVISIONS.large.subgroups <= maxComputeInvocationsPerWorkgroup;
  // Units of 8 x 8 would need twice as many variables as a large tile of 16 x 16 has.
  return fits && unit.m >= 16 && groups >= BUSY_GROUPS ? 'large' : 'medium';
}

/** Bytes of workgroup memory, with some for tables of 4-bit codes. */
function memoryOf(unit: MatrixUnit, division: Division): number {
  const tile = tileOf(division);
  const { depth } = division;
  const per = perVector(unit);
  return (
    16 * (tile.m * (depth + 1) + Math.max(tile.n * (depth + 1), depth * (tile.n + per))) +
    4 * division.subgroups * unit.m * unit.n +
    1024
  );
}

function head(unit: MatrixUnit, division: Division, alongK: boolean): string {
  const { element, emulated, m, n, k, lanes, pinned } = unit;
  const extensions = [
    'chromium_experimental_subgroup_matrix',
    ...(element === 'f16' ? ['f16'] : []),
    ...(pinned ? ['subgroup_size_control'] : []),
  ];
  const tile = tileOf(division);
  const sizes = {
    TILE_M: tile.m,
    TILE_N: tile.n,
    TILE_K: division.depth * perVector(unit),
    SUBGROUPS: division.subgroups,
    ACROSS: division.across,
    LANES: lanes,
  };
  const units = { ROWS: division.m / m, COLUMNS: division.n / n, UNIT_M: m, UNIT_N: n, UNIT_K: k };
  return [
    ...(emulated ? [] : extensions.map((name) => `enable ${name};`)),
    ...(emulated ? [] : [`alias Element = ${element};`]),
    ...Object.entries({ ...sizes, ...units }).map(([name, value]) => `const ${name} = ${value}u;`),
    `const ALONG_K = ${alongK};`,
    numbersText(unit),
  ].join('\n');
}

/** tile.wgsl with a line for every unit that a subgroup loads, multiplies and writes. */
function shapeOf(unit: MatrixUnit, division: Division, alongK: boolean): JobShape {
  const [rows, columns] = [range(division.m / unit.m), range(division.n / unit.n)];
  const [per, tile] = [perVector(unit), tileOf(division)];
  const tileK = division.depth * per;
  const strides = alongK ? ['UNIT_N * B_STRIDE', 'UNIT_K / PER'] : ['UNIT_N / PER', 'UNIT_K * B_STRIDE'];
  const each = (line: (r: number, c: number) => string): string[] =>
    rows.flatMap((r) => columns.map((c) => line(r, c)));
  const products = range(tileK / unit.k).flatMap((step) => [
    '{',
    ...rows.map((r) => `let left_${r} = load_left(at_a + ${r}u * UNIT_M * A_STRIDE + ${step}u * (UNIT_K / PER));`),
    ...columns.flatMap((c) => [
      `let right_${c} = load_right(at_b + ${c}u * (${strides[0]}) + ${step}u * (${strides[1]}));`,
      ...rows.map((r) => `sums_${r}_${c} = multiply(left_${r}, right_${c}, sums_${r}_${c});`),
    ]),
    '}',
  ]);
  const results = each(
    (r, c) =>
      `put(subgroup * RESULTS, sums_${r}_${c});\n  workgroupBarrier();\n  keep(j, m0, n0, ${r}u, ${c}u, lane);\n  workgroupBarrier();`,
  );
  const operations = unit.emulated
    ? wgsl.emulatedMatrices
    : wgsl.subgroupMatrices.replace('B_ORDER', alongK ? 'col_major' : 'row_major');
  const main = `${operations}\n${fill(wgsl.tile, { PACKED: 'in_0', UNSCALE: 'in_1' })}`
    .replace('// #size', unit.pinned ? `@subgroup_size(${unit.lanes})` : '')
    .replace('/* #subgroup */', unit.emulated ? '' : '@builtin(subgroup_id) subgroup: u32')
    .replace(
      '// #prepare',
      unit.emulated ? 'let subgroup = lane / LANES;\n  own_lane = lane % LANES;\n  // #prepare' : '// #prepare',
    )
    .replace('// #sums', each((r, c) => `var sums_${r}_${c} = no_sums(${r * columns.length + c}u);`).join('\n  '))
    .replace('// #products', products.join('\n    '))
    .replace('// #results', results.join('\n  '));
  const threads = unit.lanes * division.subgroups;
  const counts = { a_units: (tile.m * tileK) / per / threads, b_units: (tile.n * tileK) / per / threads };
  if (!Object.values(counts).every(Number.isInteger))
    throw new Error(`${threads} invocations cannot share tiles of ${tile.m}×${tileK} and ${tile.n}×${tileK}`);
  return { main, stage: wgsl.stage, counts };
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** What segments have on the left, each once. */
function sourcesOf(segments: readonly GpuSegment[]): PackedSource[] {
  const sources: PackedSource[] = [];
  for (const segment of segments) {
    if (!sources.some((source) => isSame(source, segment)))
      sources.push({ view: segment.a, k: segment.k, scale: segment.scale });
  }
  return sources;
}

function isSame({ view, k, scale }: PackedSource, segment: GpuSegment): boolean {
  const { tensor, offset, stride } = segment.a;
  return (
    view.tensor.dataId === tensor.dataId &&
    view.offset === offset &&
    view.stride === stride &&
    k === segment.k &&
    scale === segment.scale
  );
}
