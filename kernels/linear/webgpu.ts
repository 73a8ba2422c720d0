import type { TensorInfo } from '@tensorflow/tfjs-core';
import { denseOperand, gpuProduct, type GpuAddends } from '../matmul/gpu-product.js';
import { gpuMatmul } from '../matmul/webgpu.js';
import { gpuQuantizedMatmul } from '../nf4-matmul/webgpu.js';
import type { QuantizedAttrs } from '../nf4-dequantize/weight.js';
import type { Attrs, Inputs, KernelFunction } from '../runtime/op.js';
import { gpuOutput } from '../runtime/webgpu.js';

type Matrices = Record<string, TensorInfo | undefined>;

/** LowrankLinear on WebGPU: xa, then base product, bias and low-rank update in one dispatch. */
export const linearWebgpu: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { x, a, b, bias, loraInput } = inputs as Matrices & { x: TensorInfo };
  if (a === undefined || b === undefined) return [product(backend, x, inputs, attrs, false, { bias })];
  const xa = gpuMatmul(backend, loraInput ?? x, a, 'nt', 1);
  const low = { p: xa, q: b, rank: a.shape[0] as number, scale: attrs['scale'] as number };
  return [product(backend, x, inputs, attrs, false, { bias, low }), xa];
};

/** LowrankLinearGrad on WebGPU, one dispatch. */
export const linearGradWebgpu: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { dy, a, dyb } = inputs as Matrices & { dy: TensorInfo };
  const low = a === undefined || dyb === undefined ? undefined : { p: dyb, q: a, rank: a.shape[0] as number, scale: 1 };
  return product(backend, dy, inputs, attrs, true, { low });
};

/** x·Wᵀ, or x·W where transposed, + addends, for a float or a 4-bit weight. */
function product(backend: unknown, x: TensorInfo, inputs: Inputs, attrs: Attrs, transposed: boolean, addends: GpuAddends): TensorInfo {
  const w = (inputs as Matrices)['w'];
  if (w === undefined) return gpuQuantizedMatmul(backend, x, inputs, attrs as unknown as QuantizedAttrs, transposed, addends);
  const [rows, cols] = w.shape as [number, number];
  const [n, k] = transposed ? [cols, rows] : [rows, cols];
  const out = gpuOutput(backend, [x.shape[0] as number, n]);
  gpuProduct(backend, { m: x.shape[0] as number, n, k, scale: 1, a: x, aAlongK: true, b: denseOperand(w), bAlongK: !transposed, out }, addends);
  return out;
}
