import type { TensorInfo } from '@tensorflow/tfjs-core';
import { gpuProduct } from '../matmul/webgpu/choose.js';
import type { GpuAddends } from '../matmul/webgpu/product.js';
import type { GpuOperand } from '../matmul/webgpu/operand.js';
import { dequantizeWebgpu, packedBindings, packedParts } from '../nf4-dequantize/webgpu.js';
import type { QuantizedAttrs } from '../nf4-dequantize/weight.js';
import { bindingBytes } from '../runtime/webgpu/row-blocks.js';
import type { Attrs, Inputs, KernelFunction } from '../runtime/op.js';
import { gpuOutput } from '../runtime/webgpu/dispatch.js';
import * as wgsl from './wgsl.generated.js';

/** LowrankQuantizedMatmul on WebGPU: the weight is decoded tile by tile in workgroup memory. */
export const quantizedMatmulWebgpu: KernelFunction<unknown> = ({ inputs, attrs, backend }) =>
  gpuQuantizedMatmul(
    backend,
    inputs['x'] as TensorInfo,
    inputs,
    attrs as unknown as QuantizedAttrs,
    attrs['transposed'] as boolean,
  );

/** x·Wᵀ, or x·W where transposed, + addends, with the 4-bit W among `inputs`. The result is the caller's. */
export function gpuQuantizedMatmul(
  backend: unknown,
  x: TensorInfo,
  inputs: Inputs,
  attrs: QuantizedAttrs,
  transposed: boolean,
  addends: GpuAddends = {},
): TensorInfo {
  const m = x.shape[0] as number;
  const [n, k] = transposed ? [attrs.cols, attrs.rows] : [attrs.rows, attrs.cols];
  const out = gpuOutput(backend, [m, n]);
  gpuProduct(
    backend,
    { m, n, k, scale: 1, a: x, aAlongK: true, b: packedOperand(backend, inputs, attrs), bAlongK: !transposed, out },
    addends,
  );
  return out;
}

/** The 4-bit weight among `inputs` as right-hand operand. */
export function packedOperand(backend: unknown, inputs: Inputs, attrs: QuantizedAttrs): GpuOperand {
  const parts = packedParts(backend, inputs, attrs);
  if (parts !== undefined) {
    const whole = { name: 'packed', code: '', tensors: [], constants: {}, params: [] };
    return {
      ...whole,
      parts: parts.map(({ part, first, rows }) => ({
        part: packedOperand(backend, part, { ...attrs, rows }),
        first,
        rows,
      })),
    };
  }
  const { packed, tables, scales, constants, params } = packedBindings(backend, inputs, attrs, attrs.cols);
  const fits = 4 * attrs.rows * attrs.cols <= bindingBytes(backend);
  const decode = fits
    ? (): TensorInfo => dequantizeWebgpu({ inputs, attrs: attrs as unknown as Attrs, backend }) as TensorInfo
    : undefined;
  return { name: 'packed', code: wgsl.bPacked, tensors: [packed, tables, scales], constants, params, decode };
}
