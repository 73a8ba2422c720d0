import type { KernelBackend, TensorInfo } from '@tensorflow/tfjs-core';
import { makeWasmOutput, wasmHeap, wasmMemory, wasmOffset } from '../../tfjs/wasm.js';
import { heldMemory } from '../threads/held-memory.js';
import { withSharedMemory } from '../threads/shared-memory.js';

export { wasmMemory, wasmOffset } from '../../tfjs/wasm.js';

/** A compiled kernel module as `scripts/embed-kernels.mjs` writes it. */
export interface WasmSource {
  readonly name: string;
  readonly base64: string;
  /** The same compiled with relaxed SIMD, where that makes a difference: with fused multiply-add. */
  readonly relaxed?: string;
  /** That once more, in the shape for 256 bits, where it has one. */
  readonly wide?: string;
}

/**
 * How much of SIMD kernels use: instructions of 128 bits; relaxed SIMD, and with it fused multiply-add; and code of
 * such a shape that an engine which makes 256 bits of neighbouring 128 does so.
 */
export type WasmSimd = 'plain' | 'relaxed' | 'wide';

/** f32x4.relaxed_madd of three zeros. */
const RELAXED_MADD = [0xfd, 0x85, 2];
const ZERO_LANES = [0x41, 0, 0xfd, 0x0f];
const PROBE = [
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 20, 1, 18, 0],
  ...[...ZERO_LANES, ...ZERO_LANES, ...ZERO_LANES, ...RELAXED_MADD, 0x1a, 0x0b],
];

/**
 * Whether this JavaScript engine has relaxed SIMD: V8 does from Chrome 114 and Node 21 on, and Node 20 where a flag is
 * set.
 */
export function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(Uint8Array.from(PROBE));
}

let mostSimd: WasmSimd = 'relaxed';
const simdOfHeaps = new WeakMap<object, WasmSimd>();

/** What kernels of backends that have run none so far may use. With `plain` every machine rounds alike. */
export function allowWasmSimd(most: WasmSimd): void {
  mostSimd = most;
}

/** What the kernels of this backend use. Settled once a backend, so that all its threads and modules round alike. */
export function wasmSimd(backend: unknown): WasmSimd {
  const key = wasmHeap(backend);
  let uses = simdOfHeaps.get(key);
  if (uses === undefined) simdOfHeaps.set(key, (uses = hasRelaxedSimd() ? mostSimd : 'plain'));
  return uses;
}

const instances = new WeakMap<object, Map<string, WebAssembly.Exports>>();

/**
 * The exports of a kernel module, instantiated over the backend's own memory: its functions take byte offsets of tfjs
 * tensors and work on them in place. Modules are compiled at first use and kept for the life of the backend.
 */
export function wasmExports<T>(backend: unknown, source: WasmSource): T {
  const heap = wasmHeap(backend);
  let modules = instances.get(heap);
  if (modules === undefined) instances.set(heap, (modules = new Map<string, WebAssembly.Exports>()));
  let exports = modules.get(source.name);
  if (exports === undefined) {
    const module = new WebAssembly.Module(wasmBinary(backend, source) as BufferSource);
    exports = new WebAssembly.Instance(module, { env: { memory: wasmMemory(backend) } }).exports;
    modules.set(source.name, exports);
  }
  return exports as T;
}

/** Bytes of scratch that calls of a module want, as its export `scratchBytes` says. */
export function wasmScratchBytes(backend: unknown, source: WasmSource): number {
  return wasmExports<{ scratchBytes(): number }>(backend, source).scratchBytes();
}

/** A module's binary for this backend and engine: one that works on shared memory has to say so. */
export function wasmBinary(backend: unknown, source: WasmSource): Uint8Array {
  const binary = bytesFromBase64(textFor(wasmSimd(backend), source));
  return isSharedMemory(backend) ? withSharedMemory(binary) : binary;
}

function textFor(simd: WasmSimd, { base64, relaxed = base64, wide = relaxed }: WasmSource): string {
  return { plain: base64, relaxed, wide }[simd];
}

/** Whether other threads can work on the backend's heap. */
export function isSharedMemory(backend: unknown): boolean {
  return typeof SharedArrayBuffer !== 'undefined' && wasmMemory(backend).buffer instanceof SharedArrayBuffer;
}

/** Allocates an output (uninitialised values) on the backend's heap, to be written by kernels. */
export function wasmOutput(
  backend: unknown,
  shape: readonly number[],
  dtype: 'float32' | 'int32' = 'float32',
): TensorInfo {
  const address = heldMemory(wasmHeap(backend))?.take(shape.reduce((size, length) => size * length, 4));
  return makeWasmOutput(backend, shape, dtype, address);
}

/**
 * Runs `body` with `bytes` bytes of scratch memory on the backend's heap (16-byte aligned, uninitialised), to be used
 * by kernels.
 */
export function withWasmScratch<T>(backend: unknown, bytes: number, body: (offset: number) => T): T {
  return withMemory(backend, wasmOutput(backend, [Math.ceil(bytes / 4) + 4]), body);
}

/** The like of `withWasmScratch` for what JavaScript writes and kernels read. */
export function withWasmTable<T>(backend: unknown, bytes: number, body: (offset: number) => T): T {
  return withMemory(backend, makeWasmOutput(backend, [Math.ceil(bytes / 4) + 4], 'float32'), body);
}

function withMemory<T>(backend: unknown, info: TensorInfo, body: (offset: number) => T): T {
  try {
    // Addresses from 2 GB on are negative as int32.
    return body(((wasmOffset(backend, info) + 15) & ~15) >>> 0);
  } finally {
    (backend as KernelBackend).disposeData(info.dataId, true);
  }
}

export function bytesFromBase64(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
