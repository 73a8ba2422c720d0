import { returnAfterSubmit, takeBuffer, type GpuBackend } from '../../tfjs/webgpu.js';
import { bufferId, takeBuffersInOrder } from './buffer-pool.js';
import { sumsBySubgroups, withVariantSums, type VariantDevice } from '../variant.js';

/** A compute kernel: WGSL text with one entry point `main`, and the values of its `override` constants. */
export interface GpuProgram {
  /** Distinguishes pipelines together with the constants: two programs of one name must have the same code. */
  readonly name: string;
  /** A function where the text is put together: it is called once. */
  readonly code: string | (() => string);
  readonly constants?: Readonly<Record<string, number>>;
  /** The scalars differ from dispatch to dispatch: their buffer is not kept. */
  readonly transientParams?: boolean;
}

/** Scalars of one dispatch, in the order of the WGSL struct: `u` fields are u32, `f` fields f32. All are 4 bytes. */
export type GpuParams = readonly (readonly ['u' | 'i' | 'f', number])[];

/** Scalars that a seed is turned into: it differs from step to step, and a recorded step gets them for another one. */
export interface SeededParams {
  readonly seed: number;
  readonly of: (seed: number) => GpuParams;
}

/** Bytes from the beginning of a tensor to where a binding begins, by binding: multiples of 256. */
export type GpuOffsets = Readonly<Record<number, number>>;

/** What is bound: a buffer, or a stretch of one. */
export type Bound = GPUBuffer | GPUBufferBinding;

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
  /** Hears of the scalars that depend on a seed while a step is recorded: see replay/. */
  onSeeded?: ((buffer: GPUBuffer, params: SeededParams) => void) | undefined;
  /** Bytes that one storage buffer may have. */
  readonly bindingBytes: number;
  /** Set once the backend reads and disposes of tensors in parts: see row-blocks.ts. */
  knowsParts?: boolean;
}

const states = new WeakMap<GpuBackend, BackendState>();
/** Bound on cached uniform buffers: shapes of a run are few; generation makes new ones with every token. */
const MAX_CACHED_UNIFORMS = 4096;
/**
 * Bound on bind groups used lately. tfjs takes buffers from a pool, in one order (see buffer-pool.ts): a step's groups
 * come again in the next.
 */
const MAX_CACHED_GROUPS = 8192;

/** The pipelines, buffers and bind groups that are kept for a backend. */
export function stateOf(backend: unknown): BackendState {
  const gpu = backend as GpuBackend;
  let state = states.get(gpu);
  if (state !== undefined) return state;
  takeBuffersInOrder(gpu);
  const { maxStorageBufferBindingSize, maxBufferSize } = gpu.device.limits;
  state = {
    bindingBytes: Math.min(maxStorageBufferBindingSize, maxBufferSize),
    ...{ pipelines: new Map(), uniforms: new Map(), copies: new Map() },
    ...{ recentGroups: new Map(), olderGroups: new Map(), dispatches: 0 },
  };
  states.set(gpu, state);
  return state;
}

/** The bind group of a pipeline and what it binds, in the order of the bindings. */
export function bindGroupFor(
  device: GPUDevice,
  state: BackendState,
  pipeline: Pipeline,
  bound: readonly Bound[],
): GPUBindGroup {
  let key = `${pipeline.id}`;
  for (const one of bound)
    key += 'buffer' in one ? `,${bufferId(one.buffer)}@${one.offset ?? 0}+${one.size ?? ''}` : `,${bufferId(one)}`;
  let group = state.recentGroups.get(key);
  if (group !== undefined) return group;
  group = state.olderGroups.get(key);
  group ??= device.createBindGroup({
    layout: pipeline.layout,
    entries: bound.map((one, binding) => ({ binding, resource: 'buffer' in one ? one : { buffer: one } })),
  });
  if (state.recentGroups.size >= MAX_CACHED_GROUPS) {
    state.olderGroups = state.recentGroups;
    state.recentGroups = new Map();
  }
  state.recentGroups.set(key, group);
  return group;
}

/** The pipeline of a program with its constants, compiled at first use. */
export function pipelineFor(
  device: GPUDevice,
  state: BackendState,
  { name, code, constants = {} }: GpuProgram,
): Pipeline {
  const subgroups = sumsBySubgroups(device as GPUDevice & VariantDevice);
  let key = subgroups ? `${name}/subgroups` : name;
  for (const value of Object.values(constants)) key += `|${value}`;
  let known = state.pipelines.get(key);
  if (known === undefined) {
    const module = device.createShaderModule({
      label: name,
      code: withVariantSums(typeof code === 'string' ? code : code(), subgroups),
    });
    const pipeline = device.createComputePipeline({
      label: name,
      layout: 'auto',
      compute: { module, entryPoint: 'main', constants: { ...constants } },
    });
    known = { pipeline, layout: pipeline.getBindGroupLayout(0), id: state.pipelines.size };
    state.pipelines.set(key, known);
  }
  return known;
}

/** The bytes of scalars in a uniform buffer: a multiple of 16. */
export function packParams(params: GpuParams): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(Math.max(16, Math.ceil(params.length / 4) * 16)));
  params.forEach(([type, value], i) => {
    if (type === 'f') view.setFloat32(4 * i, value, true);
    else if (type === 'i') view.setInt32(4 * i, value, true);
    else view.setUint32(4 * i, value, true);
  });
  return view.buffer;
}

/**
 * The uniform buffer holding `params`. Shapes repeat from step to step, so equal contents share one buffer that is
 * written once; past the bound, or where they are transient, the buffer is a pooled one that goes back after the
 * submit.
 */
export function uniformFor(gpu: GpuBackend, state: BackendState, params: GpuParams, transient: boolean): GPUBuffer {
  let key = '';
  for (const [type, value] of params) key += `${type}${value}`;
  const cached = state.uniforms.get(key);
  if (cached !== undefined) return cached;
  if (transient || state.uniforms.size >= MAX_CACHED_UNIFORMS) return pooledUniform(gpu, params);
  const bytes = packParams(params);
  const buffer = gpu.device.createBuffer({
    size: bytes.byteLength,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.UNIFORM,
  });
  gpu.queue.writeBuffer(buffer, 0, bytes);
  state.uniforms.set(key, buffer);
  return buffer;
}

/** A uniform buffer whose scalars depend on a seed. */
export function seededUniform(gpu: GpuBackend, state: BackendState, params: SeededParams): GPUBuffer {
  const buffer = pooledUniform(gpu, params.of(params.seed));
  state.onSeeded?.(buffer, params);
  return buffer;
}

function pooledUniform(gpu: GpuBackend, params: GpuParams): GPUBuffer {
  const bytes = packParams(params);
  const buffer = takeBuffer(gpu, bytes.byteLength, GPUBufferUsage.COPY_DST | GPUBufferUsage.UNIFORM);
  gpu.queue.writeBuffer(buffer, 0, bytes);
  returnAfterSubmit(gpu, buffer);
  return buffer;
}
