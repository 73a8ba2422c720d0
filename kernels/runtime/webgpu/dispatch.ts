import type { TensorInfo } from '@tensorflow/tfjs-core';
import { util } from '@tensorflow/tfjs-core';
import * as tfjs from '../../tfjs/webgpu.js';
import {
  bindGroupFor,
  pipelineFor,
  seededUniform,
  stateOf,
  uniformFor,
  type Bound,
  type GpuOffsets,
  type GpuParams,
  type GpuProgram,
  type SeededParams,
} from './cache.js';
import { placeOf } from './views.js';

export type { GpuOffsets, GpuParams, GpuProgram, SeededParams } from './cache.js';

/** Allocates an output tensor with uninitialised values. */
export function gpuOutput(
  backend: unknown,
  shape: readonly number[],
  dtype: 'float32' | 'int32' = 'float32',
): TensorInfo {
  return tfjs.makeGpuOutput(tfjs.gpuBackend(backend), shape, dtype);
}

/**
 * Gives back an output that only served between dispatches of one kernel; its buffer lives until the recorded work is
 * done.
 */
export function gpuRelease(backend: unknown, tensor: TensorInfo): void {
  tfjs.disposeValues(tfjs.gpuBackend(backend), tensor.dataId);
}

/**
 * Says that a dispatch is about to write over a tensor that has values: puts them on the GPU and forgets the copy that
 * reading them may have left on the host.
 */
export function gpuInPlace(backend: unknown, tensor: TensorInfo): void {
  const gpu = tfjs.gpuBackend(backend);
  tfjs.uploadValues(gpu, tensor.dataId);
  tfjs.forgetHostValues(gpu, tensor.dataId);
}

/** True when the device was opened with this feature. */
export function gpuHas(backend: unknown, feature: string): boolean {
  return tfjs.gpuBackend(backend).device.features.has(feature);
}

/** True when no GPU stands behind the device: shaders run on the processor and take long to compile. */
export function gpuIsSoftware(backend: unknown): boolean {
  const { adapterInfo } = tfjs.gpuBackend(backend).device as { adapterInfo?: { isFallbackAdapter?: boolean } };
  return adapterInfo?.isFallbackAdapter === true;
}

export function gpuLimits(backend: unknown): GPUSupportedLimits {
  return tfjs.gpuBackend(backend).device.limits;
}

/** Dispatches recorded by this package's kernels on this backend since it was opened. */
export function gpuDispatchCount(backend: unknown): number {
  return stateOf(backend).dispatches;
}

/**
 * A uniform buffer of 16 bytes with the value of a scalar tensor, copied on the GPU. There is one a name: a dispatch
 * recorded before the next call reads this value.
 */
export function gpuUniform(backend: unknown, name: string, scalar: TensorInfo): GPUBuffer {
  const gpu = tfjs.gpuBackend(backend);
  const { copies } = stateOf(gpu);
  let copy = copies.get(name);
  if (copy === undefined)
    copies.set(
      name,
      (copy = gpu.device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.UNIFORM })),
    );
  const source = uploadedBuffer(gpu, scalar);
  tfjs.markInUse(gpu, scalar.dataId);
  tfjs.copyEncoder(gpu).copyBufferToBuffer(source, placeOf(scalar.dataId)?.offset ?? 0, copy, 0, 4);
  return copy;
}

/**
 * Records one dispatch. Binding i of group 0 is `tensors[i]` (read or read_write storage, as the shader declares); the
 * uniform struct of `params`, if any, is the binding after the last tensor, and `uniforms` follow. A tensor that is
 * written must not be bound twice. `workgroups` are counts, each at most 65535. `offsets` let bindings begin past the
 * beginning of a tensor.
 */
export function gpuDispatch(
  backend: unknown,
  program: GpuProgram,
  tensors: readonly TensorInfo[],
  params: GpuParams | SeededParams,
  workgroups: readonly [number, number, number],
  uniforms: readonly GPUBuffer[] = [],
  offsets?: GpuOffsets,
): void {
  const gpu = tfjs.gpuBackend(backend);
  const state = stateOf(gpu);
  const pipeline = pipelineFor(gpu.device, state, program);
  const bound: Bound[] = tensors.map((tensor, i) => bindingOf(gpu, tensor, offsets?.[i]));
  if ('seed' in params) bound.push(seededUniform(gpu, state, params));
  else if (params.length > 0) bound.push(uniformFor(gpu, state, params, program.transientParams === true));
  bound.push(...uniforms);
  for (const tensor of tensors) tfjs.markInUse(gpu, tensor.dataId);
  const bindGroup = bindGroupFor(gpu.device, state, pipeline, bound);
  const pass = tfjs.computePass(gpu);
  pass.setPipeline(pipeline.pipeline);
  pass.setBindGroup(0, bindGroup);
  pass.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2]);
  state.dispatches++;
  tfjs.countDispatch(gpu);
}

function uploadedBuffer(gpu: tfjs.GpuBackend, tensor: TensorInfo): GPUBuffer {
  tfjs.uploadValues(gpu, tensor.dataId);
  const buffer = tfjs.bufferOf(gpu, tensor.dataId);
  if (buffer === undefined) throw new Error(`a tensor of shape [${tensor.shape.join(', ')}] has no buffer on the GPU`);
  return buffer;
}

function bindingOf(gpu: tfjs.GpuBackend, tensor: TensorInfo, offset: number | undefined): Bound {
  const buffer = uploadedBuffer(gpu, tensor);
  const place = placeOf(tensor.dataId);
  if (place === undefined) return offset === undefined ? buffer : { buffer, offset };
  return { buffer, offset: place.offset + (offset ?? 0), size: place.size - (offset ?? 0) };
}

/** Workgroup counts for `items` items at `perGroup` a group, folded into two dimensions past 65535 groups. */
export function gpuWorkgroups(items: number, perGroup: number): [number, number, number] {
  const groups = Math.max(1, Math.ceil(items / perGroup));
  if (groups <= 65535) return [groups, 1, 1];
  const x = Math.ceil(Math.sqrt(groups));
  util.assert(x <= 65535, () => `${items} items are too many for one dispatch`);
  return [x, Math.ceil(groups / x), 1];
}
