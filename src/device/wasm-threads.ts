import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { withSharedMemory } from '../../kernels/runtime/threads/shared-memory.js';
import { startThreads } from '../../kernels/runtime/threads/threads.js';
import { backendIsCreated } from '../../kernels/tfjs/engine.js';
import { isSharedMemory } from '../../kernels/runtime/wasm/module.js';
import type { ThreadHost } from './device.js';

const BINARIES = ['tfjs-backend-wasm.wasm', 'tfjs-backend-wasm-simd.wasm', 'tfjs-backend-wasm-threaded-simd.wasm'];

/**
 * Sees to it that tfjs starts its WASM backend over shared memory. tfjs's own threaded build does not start in Node,
 * and its products gain nothing from threads there; its single-threaded binary runs as well once its memory is declared
 * as shared.
 *
 * @throws Error when memory cannot be shared here
 */
export async function prepareSharedHeap(host: ThreadHost): Promise<void> {
  if (typeof SharedArrayBuffer === 'undefined') throw new Error('this page is not cross-origin isolated');
  if (backendIsCreated('wasm') || host.binary === undefined) return;
  const binary = withSharedMemory(await host.binary());
  // tfjs never answers when its binary does not start: what may fail is tried before.
  if (!WebAssembly.validate(binary as BufferSource))
    throw new Error('this JavaScript engine refuses shared WebAssembly memory');
  new WebAssembly.Memory({ initial: 256, maximum: 65536, shared: true });
  // Never revoked: tfjs fetches it once more if the backend is removed and made again.
  const url = URL.createObjectURL(new Blob([binary as BufferSource], { type: 'application/wasm' }));
  setWasmPaths(Object.fromEntries(BINARIES.map((name) => [name, url])), true);
}

/**
 * Gives the started backend its threads.
 *
 * @param threads 2 or more, the calling one included
 * @returns what ends them
 * @throws Error when the backend's heap is not shared
 */
export function addThreads(backend: unknown, threads: number, host: ThreadHost): () => Promise<void> {
  if (!isSharedMemory(backend)) throw new Error('tfjs had started its backend before, on memory of its own');
  return startThreads(backend, threads, (script, data) => host.spawn(script, data));
}
