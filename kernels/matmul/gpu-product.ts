import type { TensorInfo } from '@tensorflow/tfjs-core';
import { chooseVariant } from '../runtime/variant.js';
import { rowStretches, splitTensor, type RowPart } from '../runtime/gpu-split.js';
import { gpuDispatch, gpuWorkgroups, type GpuOffsets, type GpuParams } from '../runtime/webgpu.js';
import { lanesJob, runsByLanes } from './gpu-lanes.js';
import { gpuProducts, suitsLargeTiles } from './gpu-products.js';
import { head } from './head.js';
import type { GpuJob, GpuView } from './job-text.js';
import { suitsMatrices } from './matrix-products.js';
import type { GpuOperand } from './operand.js';
import * as wgsl from './wgsl.generated.js';

/**
 * What a product adds in its own dispatch: bias `[n]`, and low-rank scale · P `[m, rank]` · Q (`[n, rank]` or `[rank,
 * n]`, laid out as B).
 */
export interface GpuAddends {
  readonly bias?: TensorInfo | undefined;
  readonly low?:
    { readonly p: TensorInfo; readonly q: TensorInfo; readonly rank: number; readonly scale: number } | undefined;
}

/** out `[m, n]` = scale · A·B + addends; A is stored `[m, k]` or, not along k, `[k, m]`; B `[n, k]` or `[k, n]`. */
export interface GpuProduct {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly scale: number;
  readonly a: TensorInfo;
  readonly aAlongK: boolean;
  readonly b: GpuOperand;
  readonly bAlongK: boolean;
  readonly out: TensorInfo;
  /**
   * Where A and C are wider than this product, which is a part of one: the place of its columns in them, and its part
   * of the addends.
   */
  readonly within?: Within;
}

interface Within {
  readonly aStride: number;
  readonly outStride: number;
  readonly accumulate: boolean;
  readonly offsets: { readonly out?: number; readonly a?: number; readonly bias?: number; readonly q?: number };
}

/**
 * Up to this many tokens a product is a few dot products with every row of the weight, limited by reading the weight.
 */
export const FEW_ROWS = 8;

interface Tile {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Rows of the tile that one invocation computes; it has 4 columns. */
  readonly rows: 4 | 8;
}

const TILES = {
  square: { m: 64, n: 64, k: 16, rows: 8 },
  small: { m: 32, n: 32, k: 16, rows: 4 },
  flat: { m: 16, n: 64, k: 16, rows: 4 },
  tall: { m: 64, n: 16, k: 16, rows: 4 },
} as const satisfies Record<string, Tile>;

function tileFor(m: number, n: number): keyof typeof TILES {
  if (m <= 16) return 'flat';
  if (n <= 16) return 'tall';
  return m <= 32 || n <= 32 ? 'small' : 'square';
}

/** A float matrix as right-hand operand. */
export function denseOperand(b: TensorInfo): GpuOperand {
  return {
    name: 'dense',
    code: '',
    tensors: [b],
    constants: {},
    params: [
      ['f', 0],
      ['u', 0],
      ['u', 0],
      ['u', 0],
    ],
  };
}

/** A float matrix, which may be a weight larger than a binding, as right-hand operand. */
export function weightOperand(backend: unknown, b: TensorInfo): GpuOperand {
  const [rows, cols] = b.shape as [number, number];
  const whole = denseOperand(b);
  const stretches = rowStretches(backend, rows, 4 * cols);
  if (stretches === undefined) return whole;
  const tensors = splitTensor(
    backend,
    b,
    stretches.map(({ first }) => first * cols),
  );
  return {
    ...whole,
    tensors: [],
    parts: stretches.map((stretch, i) => ({ ...stretch, part: { ...whole, tensors: [tensors[i] as TensorInfo] } })),
  };
}

/** Records the product by tiles, or by dot products where A has few rows. */
export function gpuProduct(backend: unknown, product: GpuProduct, addends: GpuAddends = {}): void {
  const { parts } = product.b;
  if (parts !== undefined) {
    for (const part of parts)
      gpuProduct(backend, partOf(product, addends, part), product.bAlongK || part.first === 0 ? addends : {});
    return;
  }
  if (product.m <= FEW_ROWS && product.bAlongK) {
    gpuRowProduct(backend, product, addends, { row: 1, vector: product.within?.outStride ?? product.n });
    return;
  }
  const job = jobOf(product, addends);
  if (runsByLanes(backend, [job])) {
    lanesJob(backend, job);
    return;
  }
  if (suitsLargeTiles(backend, [job]) || (chooseVariant(backend).unit !== undefined && suitsMatrices(backend, job))) {
    gpuProducts(backend, [job]);
    return;
  }
  const { m, n, k, b } = product;
  // Widths that are no multiple of 4 are read number by number; models have none, so one tile size serves them.
  const vector = [product.aAlongK ? k : m, product.bAlongK ? k : n, n, aStride(product), outStride(product)].every(
    (width) => width % 4 === 0,
  );
  const name = vector ? tileFor(m, n) : 'small';
  const tile = TILES[name];
  const { name: variant, traits } = chooseVariant(backend);
  const texts = [
    wgsl.tile,
    vector ? wgsl.aVector : wgsl.aScalar,
    vector ? wgsl.outVector : wgsl.outScalar,
    weightCode(b, vector),
  ];
  const program = {
    name: `product/${name}/${vector ? 'vector' : 'scalar'}/${b.name}/${variant}`,
    code: () =>
      [
        head(traits, { TILE_M: tile.m, TILE_N: tile.n, TILE_K: tile.k, ROWS: tile.rows, EXTRA: 2 + b.tensors.length }),
        ...texts,
      ].join('\n'),
    constants: constants(product),
  };
  const groups = [Math.ceil(n / tile.n), Math.ceil(m / tile.m), 1] as const;
  gpuDispatch(backend, program, bindings(product, addends), params(product, addends), groups, [], offsets(product));
}

/**
 * Records the product as dot products of B's rows with a few vectors, the rows of A: for m up to some 16. B lies along
 * k. Element (n, m) is written at n · strides.row + m · strides.vector, so that the two factors may change roles.
 */
export function gpuRowProduct(
  backend: unknown,
  product: GpuProduct,
  addends: GpuAddends,
  strides: { row: number; vector: number },
): void {
  const { m, n, k, b } = product;
  const { name: variant, traits } = chooseVariant(backend);
  const few = m <= 1 ? 1 : m <= 4 ? 4 : 8;
  const vector = k % 4 === 0 && product.aAlongK && aStride(product) % 4 === 0;
  const texts = [
    wgsl.rows,
    traits.subgroups ? wgsl.reduceSubgroups : wgsl.reduceMemory,
    vector ? wgsl.aVector : wgsl.aScalar,
    weightCode(b, k % 4 === 0),
  ];
  const program = {
    name: `product/rows${few}/${vector ? 'vector' : 'scalar'}${k % 4 === 0 ? '' : '/odd'}/${b.name}/${variant}`,
    code: () => [head(traits, { FEW: few, EXTRA: 2 + b.tensors.length }), ...texts].join('\n'),
    constants: constants(product),
  };
  const [x, y] = gpuWorkgroups(n, 4);
  const own: GpuParams = [
    ['u', strides.row],
    ['u', strides.vector],
  ];
  gpuDispatch(
    backend,
    program,
    bindings(product, addends),
    [...params(product, addends), ...own],
    [x, y, Math.ceil(m / few)],
    [],
    offsets(product),
  );
}

function weightCode(b: GpuOperand, vector: boolean): string {
  return b.code !== '' ? b.code : vector ? wgsl.bVector : wgsl.bScalar;
}

function constants(product: GpuProduct): Record<string, number> {
  return { A_ALONG_K: product.aAlongK ? 1 : 0, B_ALONG_K: product.bAlongK ? 1 : 0, ...product.b.constants };
}

/** What is absent is bound to A, which is only read, and never looked at. */
function bindings({ out, a, b }: GpuProduct, { bias, low }: GpuAddends): TensorInfo[] {
  return [out, a, ...b.tensors, bias ?? a, low?.p ?? a, low?.q ?? a];
}

function params(product: GpuProduct, { bias, low }: GpuAddends): GpuParams {
  const { m, n, k, scale, b, within } = product;
  return [
    ['u', m],
    ['u', n],
    ['u', k],
    ['u', low?.rank ?? 0],
    ['u', bias === undefined ? 0 : 1],
    ['f', scale],
    ['f', low?.scale ?? 0],
    ['u', aStride(product)],
    ['u', outStride(product)],
    ['u', within?.accumulate === true ? 1 : 0],
    ...b.params,
  ];
}

/** The same as gpu-products.ts takes it. */
function jobOf(product: GpuProduct, { bias, low }: GpuAddends): GpuJob {
  const { m, n, k, scale, a, aAlongK, b, bAlongK, out, within } = product;
  const at = (tensor: TensorInfo, stride: number, bytes = 0): GpuView => ({ tensor, offset: bytes / 4, stride });
  const { offsets: places = {} } = within ?? {};
  const matrix = b.code !== '' ? b : at(b.tensors[0] as TensorInfo, bAlongK ? k : n);
  const segments = [{ k, scale, a: at(a, aStride(product), places.a), aAlongK, b: matrix, bAlongK }];
  if (low !== undefined)
    segments.push({
      k: low.rank,
      scale: low.scale,
      a: at(low.p, low.rank),
      aAlongK: true,
      b: at(low.q, bAlongK ? low.rank : n, places.q),
      bAlongK,
    });
  const outs = [{ ...at(out, outStride(product), places.out), rows: m }];
  return {
    m,
    n,
    segments,
    outs,
    bias: bias === undefined ? undefined : at(bias, 0, places.bias),
    accumulate: within?.accumulate === true,
  };
}

function aStride({ aAlongK, m, k, within }: GpuProduct): number {
  return within?.aStride ?? (aAlongK ? k : m);
}

function outStride({ n, within }: GpuProduct): number {
  return within?.outStride ?? n;
}

/** By binding, as `bindings` has them. */
function offsets({ b, within }: GpuProduct): GpuOffsets | undefined {
  if (within === undefined) return undefined;
  const { out = 0, a = 0, bias = 0, q = 0 } = within.offsets;
  const first = 2 + b.tensors.length;
  return { 0: out, 1: a, [first]: bias, [first + 2]: q };
}

/**
 * The product with a stretch of B's rows: some columns of C where they lie along k, else one of the sums that make C
 * up.
 */
function partOf(
  product: GpuProduct,
  { bias, low }: GpuAddends,
  { part, first, rows }: RowPart<GpuOperand>,
): GpuProduct {
  const shared = { aStride: aStride(product), outStride: outStride(product) };
  if (product.bAlongK) {
    const at = {
      out: 4 * first,
      bias: bias === undefined ? 0 : 4 * first,
      q: low === undefined ? 0 : 4 * first * low.rank,
    };
    return { ...product, n: rows, b: part, within: { ...shared, accumulate: false, offsets: at } };
  }
  const a = 4 * first * (product.aAlongK ? 1 : product.m);
  return { ...product, k: rows, b: part, within: { ...shared, accumulate: first > 0, offsets: { a } } };
}
