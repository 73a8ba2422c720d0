import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { QuantizedAttrs } from '../nf4-dequantize/weight.js';
import { setQuantized, type SetWeight } from '../nf4-dequantize/wasm-weight.js';
import { wasmExports, wasmOffset, withWasmScratch } from '../runtime/wasm.js';
import { matmulSizes, type MatmulForm } from './form.js';
import { wasmSource } from './wasm.generated.js';

interface GemmWasm extends SetWeight {
  scratchBytes(): number;
  fillRows(bias: number, c: number, rows: number, cols: number): void;
  gemm(
    a: number, lda: number, aColumns: number, b: number, ldb: number, bKind: number, c: number, ldc: number, k: number, alpha: number, accumulate: number,
    rowBegin: number, rowEnd: number, colBegin: number, colEnd: number, scratch: number,
  ): void;
}

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
  const wasm = wasmExports<GemmWasm>(backend, wasmSource);
  const quantized = 'attrs' in w ? w : undefined;
  const shapeOfW = 'attrs' in w ? [w.attrs.rows, w.attrs.cols] : w.shape;
  const { n, m, inner } = matmulSizes(x.shape, shapeOfW, form);
  withWasmScratch(backend, wasm.scratchBytes(), (scratch) => {
    const at = (t: TensorInfo): number => wasmOffset(backend, t);
    if (quantized !== undefined) setQuantized(wasm, backend, quantized.inputs, quantized.attrs);
    const b = 'attrs' in w ? 0 : at(w);
    const bKind = (form === 'nt' ? 0 : 1) + (quantized === undefined ? 0 : 2);
    if (options.bias !== undefined) wasm.fillRows(at(options.bias), at(y), n, m);
    const accumulate = options.accumulate === true || options.bias !== undefined;
    wasm.gemm(
      at(x), x.shape[1] as number, form === 'tn' ? 1 : 0, b, shapeOfW[1] as number, bKind, at(y), m, inner, options.scale ?? 1, accumulate ? 1 : 0,
      0, n, 0, m, scratch,
    );
  });
}
