import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { QuantizedAttrs } from '../../nf4-dequantize/weight.js';
import { weightArgs } from '../../nf4-dequantize/wasm-weight.js';
import { parallelFor, threadCount } from '../../runtime/threads/threads.js';
import { wasmExports, wasmMemory, wasmOffset, withWasmTable } from '../../runtime/wasm/module.js';
import { matmulSizes, type MatmulForm } from '../form.js';
import { wasmSource } from './wasm.generated.js';

/** Ranges of rows begin where tiles do. */
const ROWS_OF_TILE = 6;
/**
 * Ranges of rows, each of which packs all of the right operands, are at least this long: that makes packing some 4 % of
 * the work.
 */
const FEWEST_ROWS = 128;
/**
 * Ranges of columns, each of which reads all of the left operands, are at least this long: that makes reading some 4 %
 * of the work.
 */
const FEWEST_COLUMNS = 128;
/** With fewer panels than this for each thread, ranges of columns would be too uneven. */
const PANELS_OF_THREAD = 4;
/** Up to this many rows, or columns, a product of the form `tn` is made without packing. */
const THIN = 16;
/**
 * Nanoseconds: a product with both operands in the cache; a value of a weight read from memory, decoded or not, and
 * packed.
 */
const PRODUCT_NS = 0.04;
const VALUE_NS = 0.4;

/** Of 4 bytes each, as `products` in wasm.as.ts reads them. */
const RESULT_FIELDS = 8;
const TERM_FIELDS = 18;
/** Those of a term that are float32: alpha, and the offset of a 4-bit weight's nested scales. */
const ALPHA = 7;
const OFFSET = 15;

/** A 4-bit right operand: the tensors of the weight by input name, and its attributes. */
export interface QuantizedOperand {
  readonly inputs: Record<string, TensorInfo>;
  readonly attrs: QuantizedAttrs;
}

/** scale · op(x) · op(w). A 4-bit w takes the forms `nt` and `nn`. */
export interface Term {
  /** The left operand: x, or `columns` of it from `first` on. */
  readonly x: TensorInfo;
  readonly first?: number;
  readonly columns?: number;
  /** The right operand: all of it, or `columnsOfW` from `firstOfW` on where it is not taken transposed. */
  readonly w: TensorInfo | QuantizedOperand;
  readonly firstOfW?: number;
  readonly columnsOfW?: number;
  readonly form: MatmulForm;
  /** Default 1. */
  readonly scale?: number;
}

export interface ProductOptions {
  /** Adds to what `y` holds. */
  readonly accumulate?: boolean;
  /** `[m]`, added to every row. */
  readonly bias?: TensorInfo | undefined;
}

/** y = Σ of the terms, all `[n, m]`. */
export interface Product extends ProductOptions {
  readonly terms: readonly Term[];
  /** `[n, m]` or wider, allocated by the caller, and the column where the product begins in it. */
  readonly y: TensorInfo;
  readonly firstOfY?: number;
}

/** y = scale · op(x) · op(w) on the WASM heap. */
export function wasmGemm(
  backend: unknown,
  x: TensorInfo,
  w: TensorInfo | QuantizedOperand,
  y: TensorInfo,
  form: MatmulForm,
  options: ProductOptions & { readonly scale?: number } = {},
): void {
  const { scale = 1, ...rest } = options;
  wasmProducts(backend, [{ ...rest, terms: [{ x, w, form, scale }], y }]);
}

/** Products on the WASM heap as one job, none of which reads what another one writes. */
export function wasmProducts(backend: unknown, products: readonly Product[]): void {
  if (products.length === 0) return;
  // Where operands lie is asked for before the table is made: one that lies on another backend is moved here, which may
  // move the whole heap.
  const sized = products.map(turned).map(({ y, firstOfY = 0, accumulate, bias, transposed, terms }) => {
    const sizes = terms.map(sizesOf);
    const thin = terms.every(({ form }, i) => form === 'tn' && (sizes[i] as Sizes).n <= THIN);
    const { n, m } = sizes[0] as Sizes;
    const mode = (accumulate === true ? 1 : 0) + (thin ? 2 : 0) + (transposed === true ? 4 : 0);
    return {
      sizes,
      thin,
      fields: [
        wasmOffset(backend, y) + 4 * firstOfY,
        y.shape[1] as number,
        n,
        m,
        mode,
        bias === undefined ? 0 : wasmOffset(backend, bias),
      ],
      terms: terms.map((term, i) => fieldsOf(backend, term, (sizes[i] as Sizes).inner)),
    };
  });
  const shapes = sized.map(({ sizes }) => sizes[0] as Sizes);
  const module = wasmExports<{ scratchBytes(): number; panelColumns(): number }>(backend, wasmSource);
  const width = module.panelColumns();
  const panels = shapes.reduce((sum, { m }) => sum + Math.ceil(m / width), 0);
  const { n } = shapes[0] as Sizes;
  const cost = sized.reduce(
    (sum, { sizes }) => sum + sizes.reduce((part, s) => part + s.inner * s.m * (s.n * PRODUCT_NS + VALUE_NS), 0),
    0,
  );
  const terms = sized.reduce((sum, { sizes }) => sum + sizes.length, 0);
  withWasmTable(backend, 4 * (RESULT_FIELDS * sized.length + TERM_FIELDS * terms), (table) => {
    const { buffer } = wasmMemory(backend);
    const [ints, floats] = [new Int32Array(buffer), new Float32Array(buffer)];
    let at = table >>> 2;
    let term = at + RESULT_FIELDS * sized.length;
    for (const { fields, terms: own } of sized) {
      ints.set([...fields, 4 * term, own.length], at);
      at += RESULT_FIELDS;
      for (const values of own) {
        ints.set(values, term);
        floats[term + ALPHA] = values[ALPHA] as number;
        floats[term + OFFSET] = values[OFFSET] ?? 0;
        term += TERM_FIELDS;
      }
    }
    // A range of columns packs, or decodes, what it needs of the right operands and nobody else does.
    const byRows =
      panels < PANELS_OF_THREAD * threadCount(backend) && n > width * panels && shapes.every((shape) => shape.n === n);
    const [count, align, fewest] = byRows
      ? [n, ROWS_OF_TILE, FEWEST_ROWS]
      : [panels, 1, sized.every(({ thin }) => thin) ? 1 : FEWEST_COLUMNS / width];
    parallelFor(backend, wasmSource, 'products', [table, sized.length, byRows ? 0 : 1], {
      count,
      cost: cost / count,
      align,
      fewest,
      scratchBytes: module.scratchBytes(),
    });
  });
}

type Sizes = ReturnType<typeof matmulSizes>;

/** A product of the form `tn` with few columns as one with few rows, whose result is stored transposed. */
function turned(product: Product): Product & { readonly transposed?: boolean } {
  const [term, ...others] = product.terms;
  if (term === undefined || others.length > 0 || term.form !== 'tn' || 'attrs' in term.w || product.bias !== undefined)
    return product;
  const { n, m } = sizesOf(term);
  if (m > THIN || m >= n) return product;
  const { x, first = 0, columns = n, w, firstOfW = 0, columnsOfW = m } = term;
  return {
    ...product,
    transposed: true,
    terms: [{ ...term, x: w, first: firstOfW, columns: columnsOfW, w: x, firstOfW: first, columnsOfW: columns }],
  };
}

function shapeOfW(w: Term['w']): readonly number[] {
  return 'attrs' in w ? [w.attrs.rows, w.attrs.cols] : w.shape;
}

function sizesOf({ x, columns, w, columnsOfW, form }: Term): Sizes {
  const [rowsOfX, ldx] = x.shape as [number, number];
  const [rowsOfW, ldw] = shapeOfW(w) as [number, number];
  return matmulSizes([rowsOfX, columns ?? ldx], [rowsOfW, columnsOfW ?? ldw], form);
}

function fieldsOf(backend: unknown, { x, first = 0, w, firstOfW = 0, form, scale = 1 }: Term, inner: number): number[] {
  const quantized = 'attrs' in w;
  const kind = (form === 'nt' ? 0 : 1) + (quantized ? 2 : 0);
  return [
    ...[wasmOffset(backend, x) + 4 * first, x.shape[1] as number, form === 'tn' ? 1 : 0, inner],
    ...[quantized ? 0 : wasmOffset(backend, w) + 4 * firstOfW, shapeOfW(w)[1] as number, kind, scale],
    ...(quantized ? weightArgs((tensor) => wasmOffset(backend, tensor), w.inputs, w.attrs) : []),
  ];
}
