import * as tf from '@tensorflow/tfjs-core';
import type { BackendValues, DataType, TensorInfo } from '@tensorflow/tfjs-core';
import { replaceMethod } from './replace-method.js';

/**
 * tfjs's WebGPU backend. tfjs puts its own text in front of every shader, so `enable f16;` and `enable subgroups;`
 * cannot go through its program runner: kernels here compile their own pipelines and record into the backend's current
 * encoder, in order with the stock ops around them. All else that they need of the backend are functions of this file.
 */
export interface GpuBackend {
  readonly device: GPUDevice;
  readonly queue: GPUQueue;
}

/** Values of a tensor: on the host, on the GPU, or on both. */
interface TensorData {
  resource?: GPUBuffer;
  values?: unknown;
}

interface BufferManager {
  /** Those that are free, by size and usage. */
  freeBuffers: Map<string, GPUBuffer[]>;
  acquireBuffer(size: number, usage: number, mappedAtCreation?: boolean, reuse?: boolean): GPUBuffer;
  releaseBuffer(buffer: GPUBuffer, reuse?: boolean): void;
  getNumUsedBuffers(): number;
}

/** The members of tfjs's WebGPU backend that this package uses and tfjs does not document. */
interface GpuMembers extends GpuBackend {
  readonly tensorMap: { get(dataId: object): TensorData; set(dataId: object, data: object): void };
  readonly bufferManager: BufferManager;
  readonly commandEncoder: GPUCommandEncoder | null;
  readonly commandQueueOwnedIds: WeakSet<object>;
  readonly uniformPendingDisposal: GPUBuffer[];
  readonly activeTimers?: unknown[] | null;
  computePassEncoder: GPUComputePassEncoder | null;
  dispatchCountInPass: number;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  uploadToGPU(dataId: object): void;
  makeTensorInfo(shape: number[], dtype: DataType): TensorInfo;
  nextDataId(): number;
  tensorToBinding(tensor: TensorInfo | undefined): unknown;
  runWebGPUProgram(program: object, ...rest: unknown[]): unknown;
  read(dataId: object): Promise<Float32Array | Int32Array>;
  disposeData(dataId: object, force?: boolean): boolean;
}

/** A backend as the WebGPU backend that it is; the current one where none is given. */
export function gpuBackend(backend: unknown = tf.backend()): GpuBackend {
  return backend as GpuBackend;
}

const METHODS = {
  submit: 'submitQueue',
  upload: 'uploadToGPU',
  binding: 'tensorToBinding',
  runProgram: 'runWebGPUProgram',
  read: 'read',
  dispose: 'disposeData',
} as const;

/**
 * Replaces what the backend does to submit its encoder, to upload a tensor's values, to bind a tensor in a stock op, to
 * run a stock op's program, to read a tensor, or to dispose of one. @returns what restores it
 */
export function replaceGpuMethod<M extends keyof typeof METHODS>(
  gpu: GpuBackend,
  method: M,
  make: (original: GpuMembers[(typeof METHODS)[M]]) => GpuMembers[(typeof METHODS)[M]],
): () => void {
  return replaceMethod(gpu as GpuMembers, METHODS[method], make);
}

/** A tensor with uninitialised values. */
export function makeGpuOutput(gpu: GpuBackend, shape: readonly number[], dtype: DataType): TensorInfo {
  return (gpu as GpuMembers).makeTensorInfo([...shape], dtype);
}

/** A tensor with these values, which are uploaded when they are used. */
export function writeValues(gpu: GpuBackend, values: BackendValues, shape: number[], dtype: DataType): TensorInfo {
  return { dataId: (gpu as unknown as tf.KernelBackend).write(values, shape, dtype), shape, dtype };
}

/** Lets go of a tensor's memory, however many tensors share it. */
export function disposeValues(gpu: GpuBackend, dataId: object): void {
  (gpu as GpuMembers).disposeData(dataId, true);
}

/** Puts a tensor's values on the GPU where they are not there yet. */
export function uploadValues(gpu: GpuBackend, dataId: object): void {
  (gpu as GpuMembers).uploadToGPU(dataId);
}

/** The buffer of a tensor; undefined where its values are on the host alone. */
export function bufferOf(gpu: GpuBackend, dataId: object): GPUBuffer | undefined {
  return (gpu as GpuMembers).tensorMap.get(dataId).resource;
}

/** Gives a tensor a buffer with its values. */
export function setBuffer(gpu: GpuBackend, dataId: object, buffer: GPUBuffer): void {
  (gpu as GpuMembers).tensorMap.get(dataId).resource = buffer;
}

/** The values that the host has of a tensor; null or undefined where it has none. */
export function hostValues(gpu: GpuBackend, dataId: object): Float32Array | Int32Array | Uint8Array | null | undefined {
  return (gpu as GpuMembers).tensorMap.get(dataId).values as Float32Array | null | undefined;
}

/** Forgets the values that the host has of a tensor: those on the GPU are about to change. */
export function forgetHostValues(gpu: GpuBackend, dataId: object): void {
  (gpu as GpuMembers).tensorMap.get(dataId).values = null;
}

/** Data of a float32 tensor in a buffer that the backend's pool never gets. No memory is taken. */
export function addExternalData(gpu: GpuBackend, shape: readonly number[], buffer: GPUBuffer | undefined): object {
  const members = gpu as GpuMembers;
  const dataId = { id: members.nextDataId() };
  members.tensorMap.set(dataId, {
    dtype: 'float32',
    shape: [...shape],
    values: null,
    refCount: 1,
    resource: buffer,
    external: true,
  });
  return dataId;
}

/** Says that commands not yet submitted use a tensor: its buffer goes back to the pool after the submit. */
export function markInUse(gpu: GpuBackend, dataId: object): void {
  (gpu as GpuMembers).commandQueueOwnedIds.add(dataId);
}

/** The current encoder outside any compute pass, to record copies. */
export function copyEncoder(gpu: GpuBackend): GPUCommandEncoder {
  const members = gpu as GpuMembers;
  members.ensureCommandEncoderReady();
  members.endComputePassEncoder();
  return members.commandEncoder as GPUCommandEncoder;
}

/** The current compute pass of the current encoder. */
export function computePass(gpu: GpuBackend): GPUComputePassEncoder {
  const members = gpu as GpuMembers;
  members.ensureCommandEncoderReady();
  return (members.computePassEncoder ??= (members.commandEncoder as GPUCommandEncoder).beginComputePass());
}

/** Counts a recorded dispatch, and submits where the batch is full. */
export function countDispatch(gpu: GpuBackend): void {
  const members = gpu as GpuMembers;
  members.dispatchCountInPass++;
  if (tf.env().getNumber('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE') <= members.dispatchCountInPass) {
    members.endComputePassEncoder();
    members.submitQueue();
  }
}

/** Submits what is being recorded. */
export function flush(gpu: GpuBackend): void {
  const members = gpu as GpuMembers;
  if (members.commandEncoder === null) return;
  members.endComputePassEncoder();
  members.submitQueue();
}

/** Whether tfjs is taking the times of its programs. */
export function isTiming(gpu: GpuBackend): boolean {
  return ((gpu as GpuMembers).activeTimers ?? undefined) !== undefined;
}

/** A buffer of the backend's pool; a new one where `reuse` is false. */
export function takeBuffer(gpu: GpuBackend, size: number, usage: number, reuse = true): GPUBuffer {
  return (gpu as GpuMembers).bufferManager.acquireBuffer(size, usage, false, reuse);
}

/** Gives a buffer back to the pool. */
export function returnBuffer(gpu: GpuBackend, buffer: GPUBuffer): void {
  (gpu as GpuMembers).bufferManager.releaseBuffer(buffer);
}

/** Gives a buffer with uniforms back to the pool after the next submit. */
export function returnAfterSubmit(gpu: GpuBackend, buffer: GPUBuffer): void {
  (gpu as GpuMembers).uniformPendingDisposal.push(buffer);
}

/** Buffers of the pool that are in use. */
export function usedBufferCount(gpu: GpuBackend): number {
  return (gpu as GpuMembers).bufferManager.getNumUsedBuffers();
}

/** Replaces the pool's free buffers, by size and usage. The pool sets an empty array, pushes to it and pops from it. */
export function replaceFreeBuffers(
  gpu: GpuBackend,
  make: (free: Map<string, GPUBuffer[]>) => Map<string, GPUBuffer[]>,
): void {
  const { bufferManager } = gpu as GpuMembers;
  bufferManager.freeBuffers = make(bufferManager.freeBuffers);
}

/** Hears of every buffer that a pool hands out and takes back. */
export interface PoolObserver {
  acquired(buffer: GPUBuffer, usage: number): void;
  /** @returns true to keep a buffer from going back */
  withholds(buffer: GPUBuffer): boolean;
}

/** Tells an observer what the pool does, for good. @returns what gives a buffer back past the observer */
export function observePool(gpu: GpuBackend, observer: PoolObserver): (buffer: GPUBuffer) => void {
  const { bufferManager } = gpu as GpuMembers;
  const release = bufferManager.releaseBuffer.bind(bufferManager);
  replaceMethod(bufferManager, 'acquireBuffer', (acquire) => (size, usage, mappedAtCreation, reuse) => {
    const buffer = acquire(size, usage, mappedAtCreation, reuse);
    observer.acquired(buffer, usage);
    return buffer;
  });
  bufferManager.releaseBuffer = (buffer, reuse) => {
    if (!observer.withholds(buffer)) release(buffer, reuse);
  };
  return release;
}
