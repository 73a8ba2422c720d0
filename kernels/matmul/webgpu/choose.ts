import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { KernelFunction } from '../../runtime/op.js';
import { chooseVariant } from '../../runtime/variant.js';
import { gpuOutput } from '../../runtime/webgpu/dispatch.js';
import { matmulSizes, type MatmulForm } from '../form.js';
import { inDispatches } from './dispatches.js';
import { FEW_ROWS, gpuRowProduct } from './few-rows/few-rows.js';
import type { GpuJob } from './job-text.js';
import { matrixBuffers, matrixDispatch, packJobs, releasePacked, suitsMatrices } from './matrix-units/products.js';
import { denseOperand, weightOperand } from './operand.js';
import { jobOf, partOf, type GpuAddends, type GpuProduct } from './product.js';
import { lanesJob, runsByLanes } from './subgroups/subgroup-software.js';
import { suitsLargeTiles, tiledBuffers, tiledGroup } from './tiled/group.js';
import { tiledProduct } from './tiled/product.js';

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
  tiledProduct(backend, product, addends);
}

/**
 * Records independent products, in one dispatch where a shader may bind all their buffers; else a job goes to a later
 * one, and one with many segments to several that add up.
 *
 * @param thin all have few columns
 */
export function gpuProducts(backend: unknown, jobs: readonly GpuJob[], thin = false): void {
  if (runsByLanes(backend, jobs)) {
    for (const job of jobs) lanesJob(backend, job);
    return;
  }
  const { unit } = chooseVariant(backend);
  const suited = unit === undefined || thin ? [] : jobs.filter((job) => suitsMatrices(backend, job));
  if (unit !== undefined && suited.length > 0) {
    for (const group of packJobs(backend, unit, suited)) {
      const way = {
        buffers: (some: readonly GpuJob[]) => matrixBuffers(some, group.rows),
        record: (some: readonly GpuJob[]) => matrixDispatch(backend, unit, some, group.rows),
      };
      inDispatches(backend, group.jobs, way);
      releasePacked(backend, group);
    }
  }
  inDispatches(backend, suited.length === 0 ? jobs : jobs.filter((job) => !suited.includes(job)), {
    buffers: tiledBuffers,
    record: (some) => tiledGroup(backend, some, thin),
  });
}
