import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Inputs, KernelFunction } from '../runtime/op.js';
import { ROWS_ALIGN, rowStretches, splitTensor, type RowPart } from '../runtime/webgpu/row-blocks.js';
import { gpuDispatch, gpuOutput, gpuWorkgroups, type GpuParams } from '../runtime/webgpu/dispatch.js';
import type { FloatDtype } from '../types.js';
import type { QuantizedAttrs } from './weight.js';
import * as wgsl from './wgsl.generated.js';

const ROUNDING: Readonly<Record<FloatDtype, number>> = { F32: 0, F16: 1, BF16: 2 };

/** What decode.wgsl binds and is told about a 4-bit weight. */
export interface PackedBindings {
  readonly packed: TensorInfo;
  readonly tables: TensorInfo;
  readonly scales: TensorInfo;
  readonly constants: Readonly<Record<string, number>>;
  /** offset, zero, nested, rounding. */
  readonly params: GpuParams;
}

/** `width` is the length of the axis along which four neighbours are read at once. */
export function packedBindings(backend: unknown, inputs: Inputs, attrs: QuantizedAttrs, width: number): PackedBindings {
  const { packed, code, absmax, absmaxCodes, absmaxMap, nestedAbsmax } = inputs as Record<string, TensorInfo>;
  const nested = absmaxCodes !== undefined && absmaxMap !== undefined && nestedAbsmax !== undefined;
  const scales = nested ? absmaxCodes : absmax;
  if (packed === undefined || code === undefined || scales === undefined)
    throw new Error('a 4-bit weight needs packed, code and its block scales');
  if (attrs.blockSize < 4)
    throw new Error(
      `blocks of ${attrs.blockSize} values are too small for the WebGPU kernels, which decode four values at a time`,
    );
  return {
    packed,
    tables: nested ? nestedTables(backend, code, absmaxMap, nestedAbsmax) : code,
    scales,
    constants: {
      BLOCK_SIZE: attrs.blockSize,
      NESTED_BLOCK_SIZE: Math.max(1, attrs.nestedBlockSize),
      ALIGNED: width % 4 === 0 && attrs.blockSize % 4 === 0 ? 1 : 0,
    },
    params: [
      ['f', attrs.offset],
      ['u', 0],
      ['u', nested ? 1 : 0],
      ['u', ROUNDING[attrs.dtype]],
    ],
  };
}

/**
 * A 4-bit weight whose codes are too many for one binding, as weights of some rows each; undefined where they are not.
 * Parts begin where a word of codes, a word of scales and a value of nested_absmax do.
 */
export function packedParts(
  backend: unknown,
  inputs: Inputs,
  { rows, cols, blockSize, nestedBlockSize }: QuantizedAttrs,
): RowPart<Record<string, TensorInfo>>[] | undefined {
  const unit = blockSize * Math.max(4, nestedBlockSize);
  let align = ROWS_ALIGN;
  while ((align * cols) % unit !== 0 && align < rows) align += ROWS_ALIGN;
  const stretches = rowStretches(backend, rows, cols / 2, align);
  if (stretches === undefined) return undefined;
  const tensors = inputs as Record<string, TensorInfo>;
  const split = (name: string, values: number): readonly TensorInfo[] | undefined => {
    const tensor = tensors[name];
    return tensor === undefined
      ? undefined
      : splitTensor(
          backend,
          tensor,
          stretches.map(({ first }) => (first * cols) / values),
        );
  };
  const names = { packed: 8, absmax: blockSize, absmaxCodes: 4 * blockSize, nestedAbsmax: blockSize * nestedBlockSize };
  const pieces = Object.entries(names).map(([name, values]) => [name, split(name, values)] as const);
  return stretches.map((stretch, i) => {
    const own = pieces.flatMap(([name, parts]) =>
      parts === undefined ? [] : [[name, parts[i] as TensorInfo] as const],
    );
    return { ...stretch, part: { ...tensors, ...Object.fromEntries(own) } };
  });
}

interface Tables {
  readonly code: object;
  readonly map: object;
  readonly tensor: TensorInfo;
}

/**
 * By nested_absmax's data: one buffer code[16], map[256], nested_absmax, because a linear layer's product needs all of
 * them beside seven other buffers and devices may bind eight only. It costs 1.1 KB a weight, is made at a weight's
 * first use, is not among tfjs's tensors and goes with the weight's data when that is collected.
 */
const tablesOf = new WeakMap<object, Tables>();

function nestedTables(backend: unknown, code: TensorInfo, map: TensorInfo, nestedAbsmax: TensorInfo): TensorInfo {
  const known = tablesOf.get(nestedAbsmax.dataId);
  if (known !== undefined && known.code === code.dataId && known.map === map.dataId) return known.tensor;
  const count = 272 + (nestedAbsmax.shape[0] as number);
  const tensor = gpuOutput(backend, [count]);
  gpuDispatch(
    backend,
    { name: 'nf4-dequantize/tables', code: wgsl.tables },
    [tensor, code, map, nestedAbsmax],
    [['u', count]],
    gpuWorkgroups(count, 64),
  );
  tablesOf.set(nestedAbsmax.dataId, { code: code.dataId, map: map.dataId, tensor });
  return tensor;
}

/** LowrankDequantize on WebGPU. */
export const dequantizeWebgpu: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const quantized = attrs as unknown as QuantizedAttrs;
  const { rows, cols } = quantized;
  const out = gpuOutput(backend, [rows, cols]);
  // Read along the flattened weight: only the block size decides whether four neighbours share a scale.
  const { packed, tables, scales, constants, params } = packedBindings(backend, inputs, quantized, 4);
  const program = { name: 'nf4-dequantize/forward', code: wgsl.forward, constants };
  gpuDispatch(
    backend,
    program,
    [out, packed, tables, scales],
    [['u', rows * cols], ...params],
    gpuWorkgroups(Math.ceil((rows * cols) / 8), 64),
  );
  return out;
};
