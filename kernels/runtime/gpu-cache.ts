import type { DataType, TensorInfo } from '@tensorflow/tfjs-core';
import { bufferId, takeBuffersInOrder, type BufferManager } from './gpu-buffers.js';
import { sumsBySubgroups, withVariantSums, type VariantDevice } from './variant.js';

/**
 * What this folder uses of tfjs's WebGPU backend, and nothing else does. tfjs puts its own text in front of every shader, so `enable f16;`
 * and `enable subgroups;` cannot go through its program runner: kernels here compile their own pipelines and record into the
 * backend's current encoder, in order with the stock ops around them.
 */
export interface GpuBackend {
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

/** Bytes from the beginning of a buffer to where a binding begins, by binding: multiples of 256. */
export type GpuOffsets = Readonly<Record<number, number>>;

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly id: number;
}

export interface BackendState {
  readonly pipelines: Map<string, Pipeline>;
  readonly uniforms: Map<string, GPUBuffer>;
  /** Buffers that tensors' values are copied to, by the name they are asked for with. */
  readonly copies: Map<string, GPUBuffer>;
  /** Bind groups by their pipeline and buffers: those used lately, and those used before. */
  recentGroups: Map<string, GPUBindGroup>;
  olderGroups: Map<string, GPUBindGroup>;
  dispatches: number;
  /** Bytes that one storage buffer may have. */
  readonly bindingBytes: number;
  /** Set once the backend reads and disposes of tensors in parts: see gpu-split.ts. */
  knowsParts?: boolean;
}

const states = new WeakMap<GpuBackend, BackendState>();
/** Bound on cached uniform buffers: shapes of a run are few; generation makes new ones with every token. */
const MAX_CACHED_UNIFORMS = 4096;
/** Bound on bind groups used lately. tfjs takes buffers from a pool, in one order (see gpu-buffers.ts): a step's groups come again in the next. */
const MAX_CACHED_GROUPS = 8192;

/** The pipelines, buffers and bind groups that are kept for a backend. */
export function stateOf(backend: unknown): BackendState {
  const gpu = backend as GpuBackend;
  let state = states.get(gpu);
  if (state !== undefined) return state;
  takeBuffersInOrder(gpu.bufferManager);
  const { maxStorageBufferBindingSize, maxBufferSize } = gpu.device.limits;
  state = {
    bindingBytes: Math.min(maxStorageBufferBindingSize, maxBufferSize),
    ...{ pipelines: new Map(), uniforms: new Map(), copies: new Map() },
    ...{ recentGroups: new Map(), olderGroups: new Map(), dispatches: 0 },
  };
  states.set(gpu, state);
  return state;
}

/** The bind group of a pipeline and its buffers, in the order of their bindings; `offsets` are bytes by binding, where they are not 0. */
export function bindGroupFor(device: GPUDevice, state: BackendState, pipeline: Pipeline, buffers: readonly GPUBuffer[], offsets?: GpuOffsets): GPUBindGroup {
  let key = `${pipeline.id}`;
  for (const buffer of buffers) key += `,${bufferId(buffer)}`;
  if (offsets !== undefined) key += `;${Object.values(offsets).join()}`;
  let group = state.recentGroups.get(key);
  if (group !== undefined) return group;
  group = state.olderGroups.get(key);
  group ??= device.createBindGroup({ layout: pipeline.layout, entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer, offset: offsets?.[binding] ?? 0 } })) });
  if (state.recentGroups.size >= MAX_CACHED_GROUPS) {
    state.olderGroups = state.recentGroups;
    state.recentGroups = new Map();
  }
  state.recentGroups.set(key, group);
  return group;
}

/** The pipeline of a program with its constants, compiled at first use. */
export function pipelineFor(device: GPUDevice, state: BackendState, { name, code, constants = {} }: GpuProgram): Pipeline {
  const subgroups = sumsBySubgroups(device as GPUDevice & VariantDevice);
  let key = subgroups ? `${name}/subgroups` : name;
  for (const value of Object.values(constants)) key += `|${value}`;
  let known = state.pipelines.get(key);
  if (known === undefined) {
    const module = device.createShaderModule({ label: name, code: withVariantSums(typeof code === 'string' ? code : code(), subgroups) });
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
export function uniformFor(gpu: GpuBackend, state: BackendState, params: GpuParams, transient: boolean): GPUBuffer {
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
