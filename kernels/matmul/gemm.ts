import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { QuantizedAttrs } from '../nf4-dequantize/weight.js';
import { weightArgs } from '../nf4-dequantize/wasm-weight.js';
import { parallelFor } from '../runtime/threads.js';
import { wasmExports, wasmOffset } from '../runtime/wasm.js';
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

/** y = scale · op(x) · op(w) on the WASM heap, y `[n, m]` allocated by the caller. A 4-bit w takes the forms `nt` and `nn`. */
export function wasmGemm(backend: unknown, x: TensorInfo, w: TensorInfo | QuantizedOperand, y: TensorInfo, form: MatmulForm, options: GemmOptions = {}): void {
  const quantized = 'attrs' in w ? w : undefined;
  const shapeOfW = 'attrs' in w ? [w.attrs.rows, w.attrs.cols] : w.shape;
  const { n, m, inner } = matmulSizes(x.shape, shapeOfW, form);
  const at = (t: TensorInfo): number => wasmOffset(backend, t);
  const bKind = (form === 'nt' ? 0 : 1) + (quantized === undefined ? 0 : 2);
  const args = [
    ...[at(x), x.shape[1] as number, form === 'tn' ? 1 : 0, 'attrs' in w ? 0 : at(w), shapeOfW[1] as number, bKind, at(y), m, inner],
    ...[options.scale ?? 1, options.accumulate === true ? 1 : 0, options.bias === undefined ? 0 : at(options.bias), n, m],
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
