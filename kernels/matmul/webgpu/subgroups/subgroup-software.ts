import type { TensorInfo } from '@tensorflow/tfjs-core';
import { forEach } from '../../../runtime/webgpu/repeat-lines.js';
import { chooseVariant } from '../../../runtime/variant.js';
import { gpuDispatch, gpuRelease, type GpuParams } from '../../../runtime/webgpu/dispatch.js';
import { element, fill, kindOf, type GpuJob, type GpuView, type Kind } from '../job-text.js';
import * as readers from '../wgsl.generated.js';
import * as wgsl from './wgsl.generated.js';

/** A matrix for each head of each row of a batch: see subgroup-software.wgsl. */
export interface HeadsView extends GpuView {
  readonly outer?: number;
  readonly inner?: number;
  readonly sharedBy?: number;
  /** Rows reach to a multiple of four elements, with zeros in A or B. */
  readonly padded?: boolean;
}

/**
 * C `[m, n]` = scale · A·B + bias, or that added to what C holds; A is stored `[m, k]` or, not along k, `[k, m]`; B
 * `[n, k]` or `[k, n]`.
 */
export interface LanesProduct {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly scale: number;
  readonly a: HeadsView;
  readonly aAlongK: boolean;
  readonly b: HeadsView;
  readonly bAlongK: boolean;
  readonly out: HeadsView;
  readonly bias?: GpuView | undefined;
  readonly accumulate: boolean;
  /** One such product for each. Default 1. */
  readonly heads?: number;
  readonly batch?: number;
  /**
   * What causal attention needs of it: C's visible part, or sums over the visible part of A `[queries, keys]` or
   * `[keys, queries]`.
   */
  readonly causal?: { readonly visible: 'c' | 'rows' | 'columns'; readonly first: number };
}

/**
 * Lanes whose rows all lanes of a subgroup hold, four rows each: more sums than these do not compile in reasonable
 * time.
 */
const MOST_ROWS = 8;
/** Products with so few columns change the roles of their matrices. */
const FEW_COLUMNS = 16;
const VISIBLE = ['c', 'rows', 'columns'] as const;

/** True where the variant in force is `lanes` and all operands of a job are, or can be made, float matrices. */
export function runsByLanes(backend: unknown, jobs: readonly GpuJob[]): boolean {
  if (!chooseVariant(backend).traits.lanes) return false;
  return jobs.every(({ segments }) => segments.every(({ b }) => 'tensor' in b || b.decode !== undefined));
}

/**
 * Records a job as a dispatch for each of its outputs and segments: products of one kind share their shader, whatever
 * they belong to.
 */
export function lanesJob(backend: unknown, job: GpuJob): void {
  for (const [s, { k, scale, a, aAlongK, b, bAlongK }] of job.segments.entries()) {
    // A tile of 4-bit codes would be decoded by every subgroup that takes part of it.
    const decoded = 'tensor' in b ? undefined : b.decode?.();
    const matrix =
      'tensor' in b
        ? b
        : { tensor: decoded as TensorInfo, offset: 0, stride: (decoded as TensorInfo).shape[1] as number };
    let first = 0;
    for (const { rows, ...out } of job.outs) {
      const rowsOfA = { ...a, offset: a.offset + first * (aAlongK ? a.stride : 1) };
      const shared = { n: job.n, k, scale, aAlongK, bAlongK, out, accumulate: s > 0 || job.accumulate === true };
      lanesProduct(backend, { ...shared, m: rows, a: rowsOfA, b: matrix, bias: s === 0 ? job.bias : undefined });
      first += rows;
    }
    if (decoded !== undefined) gpuRelease(backend, decoded);
  }
}

/** Records a product, a subgroup each tile. */
export function lanesProduct(backend: unknown, product: LanesProduct): void {
  const { out, bias, accumulate, heads = 1, batch = 1, causal, scale, k } = product;
  const swapped = product.n <= FEW_COLUMNS && product.n < product.m && bias === undefined && causal === undefined;
  const { m, n, a, aAlongK, b, bAlongK } = swapped ? swap(product) : product;
  const { lanes } = chooseVariant(backend);
  const rows = Math.min(lanes, m <= 8 ? 2 : m <= 16 ? 4 : MOST_ROWS);
  const kinds = [kindIn(out, product.n), kindIn(a, aAlongK ? k : m), kindIn(b, bAlongK ? k : n)] as const;
  const program = {
    name: `lanes/${kinds.map((kind) => kind[0]).join('')}/${lanes}x${rows}`,
    code: () => text(kinds, lanes, rows),
    constants: { A_ALONG_K: aAlongK ? 1 : 0, B_ALONG_K: bAlongK ? 1 : 0, SWAPPED: swapped ? 1 : 0 },
  };
  const view = ({ offset, stride, outer = 0, inner = 0, sharedBy = 1 }: HeadsView): GpuParams =>
    [offset, stride, outer, inner, sharedBy, 0, 0, 0].map((x) => ['u', x] as const);
  const visible = causal === undefined ? 0 : VISIBLE.indexOf(causal.visible) + 1;
  const flags = [
    accumulate ? 1 : 0,
    bias === undefined ? 0 : 1,
    bias?.offset ?? 0,
    heads,
    visible,
    causal?.first ?? 0,
    0,
  ];
  const params: GpuParams = [
    ['u', m],
    ['u', n],
    ['u', k],
    ['u', 0],
    ['f', scale],
    ...flags.map((x) => ['u', x] as const),
    ...view(a),
    ...view(b),
    ...view(out),
  ];
  gpuDispatch(backend, program, [out.tensor, a.tensor, b.tensor, (bias ?? a).tensor], params, [
    Math.ceil(n / (4 * lanes)),
    Math.ceil(m / (4 * rows)),
    batch * heads,
  ]);
}

/** The matrices that give the transposed product. */
function swap({
  m,
  n,
  a,
  aAlongK,
  b,
  bAlongK,
}: LanesProduct): Pick<LanesProduct, 'm' | 'n' | 'a' | 'aAlongK' | 'b' | 'bAlongK'> {
  return { m: n, n: m, a: b, aAlongK: bAlongK, b: a, bAlongK: aAlongK };
}

function text([out, a, b]: readonly [Kind, Kind, Kind], lanes: number, rows: number): string {
  const reader = (kind: Kind, name: string): string =>
    fill(kind === 'vector' ? readers.viewVector : readers.viewScalar, {
      READ: `read_${name}`,
      VIEW: `own_${name}`,
      VALUES: name,
      NOTHING: 'params.zero',
    });
  return [
    'enable subgroups;',
    `const LANES = ${lanes}u;\nconst ROWS = ${rows}u;`,
    `@group(0) @binding(0) var<storage, read_write> out: array<${element(out)}>;`,
    `@group(0) @binding(1) var<storage, read> a: array<${element(a)}>;`,
    `@group(0) @binding(2) var<storage, read> b: array<${element(b)}>;`,
    reader(a, 'a'),
    reader(b, 'b'),
    forEach(wgsl.subgroupSoftware, { rows }).replace(
      out === 'vector' ? /^.* \/\/ #scalar\n/gm : /^.* \/\/ #vector\n/gm,
      '',
    ),
  ].join('\n');
}

function kindIn(view: HeadsView, width: number): Kind {
  const { outer = 0, inner = 0, padded = false } = view;
  return [outer, inner].every((step) => step % 4 === 0) ? kindOf(view, padded ? 0 : width) : 'scalar';
}
