import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { QuantizedAttrs } from '../nf4-dequantize/weight.js';
import { weightArgs } from '../nf4-dequantize/wasm-weight.js';
import { parallelFor, threadCount } from '../runtime/threads.js';
import { wasmExports, wasmMemory, wasmOffset, withWasmScratch } from '../runtime/wasm.js';
import { matmulSizes, type MatmulForm } from './form.js';
import { wasmSource } from './wasm.generated.js';

/** Ranges of rows and columns begin where tiles do. */
const ROWS_OF_TILE = 5;
const COLUMNS_OF_TILE = 8;
/** A side this long makes packing the other one cheap: some 4 % of the work. */
const FEWEST = 128;
/** Decoding and packing a value of a 4-bit weight takes about as long as packing this many floats. */
const DECODING = 2;
/** Nanoseconds: a product with both operands in the cache; a value of a weight read from memory. */
const PRODUCT_NS = 0.05;
const VALUE_NS = 0.2;

/** As gemmParts in wasm.ts reads them; scale and the offset of a 4-bit weight's nested scales are float32. */
const PART_BYTES = 72;
const FLOAT_FIELDS: readonly number[] = [6, 16];

/** A 4-bit right operand: the tensors of the weight by input name, and its attributes. */
export interface QuantizedOperand {
  readonly inputs: Record<string, TensorInfo>;
  readonly attrs: QuantizedAttrs;
}

export interface GemmOptions {
  readonly scale?: number;
  /** Adds to what `y` holds. */
  readonly accumulate?: boolean;
  /** `[m]`, added to every row. */
  readonly bias?: TensorInfo | undefined;
}

/** The left operand: x, or `columns` of it from `first` on. */
export interface Factor {
  readonly x: TensorInfo;
  readonly first?: number;
  readonly columns?: number;
}

/** One of the right operands that meet the same left one. */
export interface GemmPart extends GemmOptions {
  /** All of it, or `columns` from `firstOfW` on where it is not taken transposed. */
  readonly w: TensorInfo | QuantizedOperand;
  readonly firstOfW?: number;
  readonly columns?: number;
  /** `[n, m]` or wider, and the column where the product begins in it. */
  readonly y: TensorInfo;
  readonly first?: number;
}

/** y = scale · op(x) · op(w) on the WASM heap, y `[n, m]` allocated by the caller. A 4-bit w takes the forms `nt` and `nn`. */
export function wasmGemm(backend: unknown, x: TensorInfo, w: TensorInfo | QuantizedOperand, y: TensorInfo, form: MatmulForm, options: GemmOptions = {}): void {
  wasmGemms(backend, { x }, [{ ...options, w, y }], form);
}

/** Products of one left operand with several right ones, each into columns of its y. */
export function wasmGemms(backend: unknown, factor: Factor, parts: readonly GemmPart[], form: MatmulForm): void {
  // On many threads each would pack, or decode, all of the right operands for its few rows.
  if (parts.length > 1 && form !== 'tn' && (factor.x.shape[0] as number) >= FEWEST * threadCount(backend)) together(backend, factor, parts, form);
  else for (const part of parts) single(backend, factor, part, form);
}

/** One job over the rows of x, which are packed once for all parts. */
function together(backend: unknown, { x, first = 0, columns }: Factor, parts: readonly GemmPart[], form: 'nt' | 'nn'): void {
  const [n, ldx] = x.shape as [number, number];
  const inner = columns ?? ldx;
  let cols = 0;
  withWasmScratch(backend, PART_BYTES * parts.length, (table) => {
    const view = new DataView(wasmMemory(backend).buffer);
    parts.forEach(({ w, y, first: firstOfY = 0, scale = 1, accumulate, bias, columns: own }, i) => {
      const quantized = 'attrs' in w ? w : undefined;
      const [rows, width] = ('attrs' in w ? [w.attrs.rows, w.attrs.cols] : w.shape) as [number, number];
      const m = form === 'nt' ? rows : (own ?? width);
      cols += m;
      const kind = (form === 'nt' ? 0 : 1) + (quantized === undefined ? 0 : 2);
      const fields = [
        ...['attrs' in w ? 0 : wasmOffset(backend, w), width, kind, wasmOffset(backend, y) + 4 * firstOfY, y.shape[1] as number, m],
        ...[scale, accumulate === true ? 1 : 0, bias === undefined ? 0 : wasmOffset(backend, bias)],
        ...(quantized === undefined ? [] : weightArgs(backend, quantized.inputs, quantized.attrs)),
      ];
      fields.forEach((value, field) => {
        const at = table + PART_BYTES * i + 4 * field;
        if (FLOAT_FIELDS.includes(field)) view.setFloat32(at, value, true);
        else view.setInt32(at, value, true);
      });
    });
    const module = wasmExports<{ scratchBytes(): number }>(backend, wasmSource);
    const args = [wasmOffset(backend, x) + 4 * first, ldx, 0, inner, table, parts.length];
    parallelFor(backend, wasmSource, 'gemmParts', args, { count: n, cost: inner * cols * PRODUCT_NS, align: ROWS_OF_TILE, fewest: FEWEST, scratchBytes: module.scratchBytes() });
  });
}

function single(backend: unknown, { x, first: firstOfX = 0, columns: columnsOfX }: Factor, part: GemmPart, form: MatmulForm): void {
  const { w, y } = part;
  const quantized = 'attrs' in w ? w : undefined;
  const shapeOfW = 'attrs' in w ? [w.attrs.rows, w.attrs.cols] : w.shape;
  const [ldx, ldw, ldy] = [x.shape[1] as number, shapeOfW[1] as number, y.shape[1] as number];
  const { n, m, inner } = matmulSizes([x.shape[0] as number, columnsOfX ?? ldx], [shapeOfW[0] as number, part.columns ?? ldw], form);
  const at = (t: TensorInfo, first = 0): number => wasmOffset(backend, t) + 4 * first;
  const bKind = (form === 'nt' ? 0 : 1) + (quantized === undefined ? 0 : 2);
  const args = [
    ...[at(x, firstOfX), ldx, form === 'tn' ? 1 : 0, 'attrs' in w ? 0 : at(w, part.firstOfW), ldw, bKind, at(y, part.first), ldy, inner],
    ...[part.scale ?? 1, part.accumulate === true ? 1 : 0, part.bias === undefined ? 0 : at(part.bias), n, m],
  ];
  const module = wasmExports<{ scratchBytes(): number }>(backend, wasmSource);
  const shared = {
    scratchBytes: module.scratchBytes(),
    ...(quantized === undefined ? {} : { prepare: { name: 'setWeight', args: weightArgs(backend, quantized.inputs, quantized.attrs) } }),
  };
  // Every part packs (or decodes) the whole other operand: the side that is dearer to pack is the one to cut.
  if (n > (quantized === undefined ? m : DECODING * m)) parallelFor(backend, wasmSource, 'gemmRows', args, { count: n, cost: inner * m * PRODUCT_NS, align: ROWS_OF_TILE, fewest: FEWEST, ...shared });
  else parallelFor(backend, wasmSource, 'gemmColumns', args, { count: m, cost: inner * Math.max(n * PRODUCT_NS, VALUE_NS), align: COLUMNS_OF_TILE, fewest: FEWEST, ...shared });
}
