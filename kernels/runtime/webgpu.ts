import type { DataType, TensorInfo } from '@tensorflow/tfjs-core';
import { env, util } from '@tensorflow/tfjs-core';
import { bufferId, takeBuffersInOrder, type BufferManager } from './gpu-buffers.js';

/**
 * The one file that reaches into tfjs's WebGPU backend. tfjs puts its own text in front of every shader, so `enable f16;`
 * and `enable subgroups;` cannot go through its program runner: kernels here compile their own pipelines and record into the
 * backend's current encoder, in order with the stock ops around them.
 */
interface GpuBackend {
  readonly device: GPUDevice;
  readonly queue: GPUQueue;
  readonly tensorMap: { get(dataId: object): { resource?: GPUBuffer; values?: unknown } };
  readonly bufferManager: BufferManager;
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  commandQueueOwnedIds: WeakSet<object>;
  dispatchCountInPass: number;
  uniformPendingDisposal: GPUBuffer[];
  activeTimers?: unknown[] | null;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  uploadToGPU(dataId: object): void;
  makeTensorInfo(shape: number[], dtype: DataType): TensorInfo;
}

/** A compute kernel: WGSL text with one entry point `main`, and the values of its `override` constants. */
export interface GpuProgram {
  /** Distinguishes pipelines together with the constants: two programs of one name must have the same code. */
  readonly name: string;
  /** A function where the text is put together: it is called once. */
  readonly code: string | (() => string);
  readonly constants?: Readonly<Record<string, number>>;
  /** The scalars differ from dispatch to dispatch (a seed): their buffer is not kept. */
  readonly transientParams?: boolean;
}

/** Scalars of one dispatch, in the order of the WGSL struct: `u` fields are u32, `f` fields f32. All are 4 bytes. */
export type GpuParams = readonly (readonly ['u' | 'i' | 'f', number])[];

interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly id: number;
}

interface BackendState {
  readonly pipelines: Map<string, Pipeline>;
  readonly uniforms: Map<string, GPUBuffer>;
  /** Buffers that tensors' values are copied to, by the name they are asked for with. */
  readonly copies: Map<string, GPUBuffer>;
  /** Bind groups by their pipeline and buffers: those used lately, and those used before. */
  recentGroups: Map<string, GPUBindGroup>;
  olderGroups: Map<string, GPUBindGroup>;
  dispatches: number;
}

const states = new WeakMap<GpuBackend, BackendState>();
/** Bound on cached uniform buffers: shapes of a run are few; generation makes new ones with every token. */
const MAX_CACHED_UNIFORMS = 4096;
/** Bound on bind groups used lately. tfjs takes buffers from a pool, in the same order in every step of equal shapes: groups come again. */
const MAX_CACHED_GROUPS = 8192;

function stateOf(backend: unknown): BackendState {
  const gpu = backend as GpuBackend;
  let state = states.get(gpu);
  if (state !== undefined) return state;
  takeBuffersInOrder(gpu.bufferManager);
  state = {
    ...{ pipelines: new Map(), uniforms: new Map(), copies: new Map() },
    ...{ recentGroups: new Map(), olderGroups: new Map(), dispatches: 0 },
  };
  states.set(gpu, state);
  return state;
}

/** Allocates an output tensor with uninitialised values. */
export function gpuOutput(backend: unknown, shape: readonly number[], dtype: 'float32' | 'int32' = 'float32'): TensorInfo {
  return (backend as GpuBackend).makeTensorInfo([...shape], dtype);
}

/** Gives back an output that only served between dispatches of one kernel; its buffer lives until the recorded work is done. */
export function gpuRelease(backend: unknown, tensor: TensorInfo): void {
  (backend as { disposeData(dataId: object, force?: boolean): boolean }).disposeData(tensor.dataId, true);
}

/**
 * Says that a dispatch is about to write over a tensor that has values: puts them on the GPU and forgets the copy that reading
 * them may have left on the host.
 */
export function gpuInPlace(backend: unknown, tensor: TensorInfo): void {
  const gpu = backend as GpuBackend;
  gpu.uploadToGPU(tensor.dataId);
  gpu.tensorMap.get(tensor.dataId).values = null;
}

/** True when the device was opened with this feature. */
export function gpuHas(backend: unknown, feature: string): boolean {
  return (backend as GpuBackend).device.features.has(feature);
}

/** True when no GPU stands behind the device: shaders run on the processor and take long to compile. */
export function gpuIsSoftware(backend: unknown): boolean {
  const { adapterInfo } = (backend as GpuBackend).device as { adapterInfo?: { isFallbackAdapter?: boolean } };
  return adapterInfo?.isFallbackAdapter === true;
}

export function gpuLimits(backend: unknown): GPUSupportedLimits {
  return (backend as GpuBackend).device.limits;
}

/** Dispatches recorded by this package's kernels on this backend since it was opened. */
export function gpuDispatchCount(backend: unknown): number {
  return stateOf(backend).dispatches;
}

/**
 * A uniform buffer of 16 bytes with the value of a scalar tensor, copied on the GPU. There is one a name: a dispatch recorded before the
 * next call reads this value.
 */
export function gpuUniform(backend: unknown, name: string, scalar: TensorInfo): GPUBuffer {
  const gpu = backend as GpuBackend;
  const { copies } = stateOf(gpu);
  let copy = copies.get(name);
  if (copy === undefined) copies.set(name, (copy = gpu.device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.UNIFORM })));
  const source = bufferOf(gpu, scalar);
  gpu.commandQueueOwnedIds.add(scalar.dataId);
  gpu.ensureCommandEncoderReady();
  gpu.endComputePassEncoder();
  (gpu.commandEncoder as GPUCommandEncoder).copyBufferToBuffer(source, 0, copy, 0, 4);
  return copy;
}

/**
 * Records one dispatch. Binding i of group 0 is `tensors[i]` (read or read_write storage, as the shader declares); the
 * uniform struct of `params`, if any, is the binding after the last tensor, and `uniforms` follow. A tensor that is written must not be
 * bound twice. `workgroups` are counts, each at most 65535.
 */
export function gpuDispatch(
  backend: unknown,
  program: GpuProgram,
  tensors: readonly TensorInfo[],
  params: GpuParams,
  workgroups: readonly [number, number, number],
  uniforms: readonly GPUBuffer[] = [],
): void {
  const gpu = backend as GpuBackend;
  const state = stateOf(gpu);
  const pipeline = pipelineFor(gpu.device, state, program);
  const buffers = tensors.map((tensor) => bufferOf(gpu, tensor));
  if (params.length > 0) buffers.push(uniformFor(gpu, state, params, program.transientParams === true));
  buffers.push(...uniforms);
  for (const tensor of tensors) gpu.commandQueueOwnedIds.add(tensor.dataId);
  const bindGroup = bindGroupFor(gpu.device, state, pipeline, buffers);
  gpu.ensureCommandEncoderReady();
  gpu.computePassEncoder ??= (gpu.commandEncoder as GPUCommandEncoder).beginComputePass();
  gpu.computePassEncoder.setPipeline(pipeline.pipeline);
  gpu.computePassEncoder.setBindGroup(0, bindGroup);
  gpu.computePassEncoder.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2]);
  gpu.dispatchCountInPass++;
  state.dispatches++;
  if (env().getNumber('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE') <= gpu.dispatchCountInPass) {
    gpu.endComputePassEncoder();
    gpu.submitQueue();
  }
}

function bufferOf(gpu: GpuBackend, tensor: TensorInfo): GPUBuffer {
  gpu.uploadToGPU(tensor.dataId);
  const buffer = gpu.tensorMap.get(tensor.dataId).resource;
  if (buffer === undefined) throw new Error(`a tensor of shape [${tensor.shape.join(', ')}] has no buffer on the GPU`);
  return buffer;
}

function bindGroupFor(device: GPUDevice, state: BackendState, pipeline: Pipeline, buffers: readonly GPUBuffer[]): GPUBindGroup {
  let key = `${pipeline.id}`;
  for (const buffer of buffers) key += `,${bufferId(buffer)}`;
  let group = state.recentGroups.get(key);
  if (group !== undefined) return group;
  group = state.olderGroups.get(key);
  group ??= device.createBindGroup({ layout: pipeline.layout, entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })) });
  if (state.recentGroups.size >= MAX_CACHED_GROUPS) {
    state.olderGroups = state.recentGroups;
    state.recentGroups = new Map();
  }
  state.recentGroups.set(key, group);
  return group;
}

function pipelineFor(device: GPUDevice, state: BackendState, { name, code, constants = {} }: GpuProgram): Pipeline {
  let key = name;
  for (const value of Object.values(constants)) key += `|${value}`;
  let known = state.pipelines.get(key);
  if (known === undefined) {
    const module = device.createShaderModule({ label: name, code: typeof code === 'string' ? code : code() });
    const pipeline = device.createComputePipeline({ label: name, layout: 'auto', compute: { module, entryPoint: 'main', constants: { ...constants } } });
    known = { pipeline, layout: pipeline.getBindGroupLayout(0), id: state.pipelines.size };
    state.pipelines.set(key, known);
  }
  return known;
}

/**
 * The uniform buffer holding `params`. Shapes repeat from step to step, so equal contents share one buffer that is written once;
 * past the bound, or where they are transient, the buffer is a pooled one that goes back after the submit.
 */
function uniformFor(gpu: GpuBackend, state: BackendState, params: GpuParams, transient: boolean): GPUBuffer {
  let key = '';
  for (const [type, value] of params) key += `${type}${value}`;
  const cached = state.uniforms.get(key);
  if (cached !== undefined) return cached;
  const size = Math.max(16, Math.ceil(params.length / 4) * 16);
  const view = new DataView(new ArrayBuffer(size));
  params.forEach(([type, value], i) => {
    if (type === 'f') view.setFloat32(4 * i, value, true);
    else if (type === 'i') view.setInt32(4 * i, value, true);
    else view.setUint32(4 * i, value, true);
  });
  const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.UNIFORM;
  const keep = !transient && state.uniforms.size < MAX_CACHED_UNIFORMS;
  const buffer = keep ? gpu.device.createBuffer({ size, usage }) : gpu.bufferManager.acquireBuffer(size, usage);
  gpu.queue.writeBuffer(buffer, 0, view.buffer);
  if (keep) state.uniforms.set(key, buffer);
  else gpu.uniformPendingDisposal.push(buffer);
  return buffer;
}

/** Workgroup counts for `items` items at `perGroup` a group, folded into two dimensions past 65535 groups. */
export function gpuWorkgroups(items: number, perGroup: number): [number, number, number] {
  const groups = Math.max(1, Math.ceil(items / perGroup));
  if (groups <= 65535) return [groups, 1, 1];
  const x = Math.ceil(Math.sqrt(groups));
  util.assert(x <= 65535, () => `${items} items are too many for one dispatch`);
  return [x, Math.ceil(groups / x), 1];
}
