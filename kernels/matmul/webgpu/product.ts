import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { RowPart } from '../../runtime/webgpu/row-blocks.js';
import type { GpuOffsets, GpuParams } from '../../runtime/webgpu/dispatch.js';
import type { GpuJob, GpuView } from './job-text.js';
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

export function weightCode(b: GpuOperand, vector: boolean): string {
  return b.code !== '' ? b.code : vector ? wgsl.bVector : wgsl.bScalar;
}

export function constants(product: GpuProduct): Record<string, number> {
  return { A_ALONG_K: product.aAlongK ? 1 : 0, B_ALONG_K: product.bAlongK ? 1 : 0, ...product.b.constants };
}

/** What is absent is bound to A, which is only read, and never looked at. */
export function bindings({ out, a, b }: GpuProduct, { bias, low }: GpuAddends): TensorInfo[] {
  return [out, a, ...b.tensors, bias ?? a, low?.p ?? a, low?.q ?? a];
}

export function params(product: GpuProduct, { bias, low }: GpuAddends): GpuParams {
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

/** The same as a product of a group. */
export function jobOf(product: GpuProduct, { bias, low }: GpuAddends): GpuJob {
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

export function aStride({ aAlongK, m, k, within }: GpuProduct): number {
  return within?.aStride ?? (aAlongK ? k : m);
}

export function outStride({ n, within }: GpuProduct): number {
  return within?.outStride ?? n;
}

/** By binding, as `bindings` has them. */
export function offsets({ b, within }: GpuProduct): GpuOffsets | undefined {
  if (within === undefined) return undefined;
  const { out = 0, a = 0, bias = 0, q = 0 } = within.offsets;
  const first = 2 + b.tensors.length;
  return { 0: out, 1: a, [first]: bias, [first + 2]: q };
}

/**
 * The product with a stretch of B's rows: some columns of C where they lie along k, else one of the sums that make C
 * up.
 */
export function partOf(
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
