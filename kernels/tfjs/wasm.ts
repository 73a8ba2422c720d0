import type { DataType, TensorInfo } from '@tensorflow/tfjs-core';
import { replaceMethod } from './replace-method.js';

/** The Emscripten module under tfjs's WASM backend. */
interface WasmHeap {
  readonly asm?: { readonly memory?: WebAssembly.Memory };
  readonly wasmMemory?: WebAssembly.Memory;
  readonly HEAPU8?: Uint8Array;
  _malloc: (bytes: number) => number;
  _free: (address: number) => void;
}

/** The members of tfjs's WASM backend that this package uses and tfjs does not document. */
interface WasmMembers {
  readonly wasm: WasmHeap;
  readonly dataIdMap: { get(dataId: object): { memoryOffset: number } };
  makeOutput(shape: number[], dtype: DataType, address?: number, ...rest: unknown[]): TensorInfo;
}

/** Allocates bytes on a heap; addresses from 2 GB on may come as negative numbers. */
export interface Allocator {
  readonly allocate: (bytes: number) => number;
  readonly free: (address: number) => void;
}

/** The object that stands for the heap of a WASM backend: what belongs to the heap is keyed by it. */
export function wasmHeap(backend: unknown): object {
  return (backend as WasmMembers).wasm;
}

/** The memory of a WASM backend's heap. */
export function wasmMemory(backend: unknown): WebAssembly.Memory {
  const { wasm } = backend as WasmMembers;
  const memory = wasm.wasmMemory ?? wasm.asm?.memory;
  if (memory === undefined) throw new Error('this version of tfjs-backend-wasm does not expose its memory');
  return memory;
}

/** Size of the heap in bytes; undefined for a backend that has none. */
export function wasmHeapBytes(backend: unknown): number | undefined {
  return (backend as Partial<WasmMembers>).wasm?.HEAPU8?.buffer.byteLength;
}

/** Byte offset of a tensor's values in the backend's memory. Valid until the tensor is disposed. */
export function wasmOffset(backend: unknown, tensor: TensorInfo): number {
  return (backend as WasmMembers).dataIdMap.get(tensor.dataId).memoryOffset;
}

/** A tensor with uninitialised values: at `address` of the heap, or in memory that is allocated for it. */
export function makeWasmOutput(
  backend: unknown,
  shape: readonly number[],
  dtype: DataType,
  address?: number,
): TensorInfo {
  return (backend as WasmMembers).makeOutput([...shape], dtype, address);
}

/**
 * Calls `made` for each output that a kernel makes over memory that it allocated by itself: neither `write` nor `move`
 * of the backend sees it. No effect on other backends.
 * @returns what ends it
 */
export function watchWasmOutputs(
  backend: unknown,
  made: (info: TensorInfo, shape: number[], dtype: DataType) => void,
): () => void {
  const members = backend as Partial<WasmMembers>;
  if (members.makeOutput === undefined) return () => undefined;
  return replaceMethod(backend as WasmMembers, 'makeOutput', (make) => (shape, dtype, address, ...rest) => {
    const info = make(shape, dtype, address, ...rest);
    if (typeof address === 'number') made(info, shape, dtype);
    return info;
  });
}

/**
 * Replaces the allocator of a heap.
 * @param make makes the new allocator from the one before
 * @returns what restores the allocator before
 */
export function replaceAllocator(heap: object, make: (before: Allocator) => Allocator): () => void {
  const wasm = heap as WasmHeap;
  // The first call of each puts the module's own function in its place, which would undo what follows.
  wasm._free(wasm._malloc(4));
  const before = { _malloc: wasm._malloc, _free: wasm._free };
  const allocator = make({ allocate: before._malloc, free: before._free });
  wasm._malloc = (bytes) => allocator.allocate(bytes);
  wasm._free = (address) => {
    allocator.free(address);
  };
  return () => {
    Object.assign(wasm, before);
  };
}
