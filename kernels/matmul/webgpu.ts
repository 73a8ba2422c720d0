import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { KernelFunction } from '../runtime/op.js';
import { chooseVariant } from '../runtime/variant.js';
import { gpuOutput } from '../runtime/webgpu.js';
import { matmulSizes, type MatmulForm } from './form.js';
import { denseOperand, FEW_ROWS, gpuProduct, gpuRowProduct, weightOperand } from './gpu-product.js';

/** LowrankMatmul on WebGPU. */
export const matmulWebgpu: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { x, w } = inputs as { x: TensorInfo; w: TensorInfo };
  return gpuMatmul(backend, x, w, attrs['form'] as MatmulForm, attrs['scale'] as number);
};

/** scale · op(x) · op(w) of two float matrices; the result is the caller's. */
export function gpuMatmul(backend: unknown, x: TensorInfo, w: TensorInfo, form: MatmulForm, scale: number): TensorInfo {
  const { n: m, m: n, inner: k } = matmulSizes(x.shape, w.shape, form);
  const out = gpuOutput(backend, [m, n]);
  if (form !== 'tn' && n <= 2 * FEW_ROWS && m > FEW_ROWS && !chooseVariant(backend).traits.lanes) {
    // A low-rank factor: few columns, so the rows of x take the part of the weight's.
    const b = denseOperand(x);
    gpuRowProduct(
      backend,
      { m: n, n: m, k, scale, a: w, aAlongK: form === 'nt', b, bAlongK: true, out },
      {},
      { row: n, vector: 1 },
    );
  } else {
    const b = weightOperand(backend, w);
    gpuProduct(backend, { m, n, k, scale, a: x, aAlongK: form !== 'tn', b, bAlongK: form === 'nt', out });
  }
  return out;
}
