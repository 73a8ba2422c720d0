import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-wasm';
import { allowWasmSimd, wasmSimd, type WasmSimd } from '../../kernels/runtime/wasm/module.js';
import { replaceAllocator, wasmHeap } from '../../kernels/tfjs/wasm.js';
import { DeviceError } from '../errors.js';
import type { Device, DeviceOptions, Host } from './device.js';
import { addThreads, prepareSharedHeap } from './wasm-threads.js';

const MOST_THREADS = 256;

const FEATURES: Readonly<Record<WasmSimd, readonly string[]>> = {
  plain: [],
  relaxed: ['relaxed-simd'],
  wide: ['relaxed-simd', 'simd-256'],
};

/**
 * Opens tfjs's WASM backend. Where threads cannot be had, the own kernels run on the calling one, and the description
 * says why.
 *
 * @throws DeviceError when the backend does not start, or the number of threads is none
 */
export async function openWasm(
  reason: string,
  host: Pick<Host, 'threads' | 'wasmSimd'> = {},
  options: DeviceOptions = {},
): Promise<Device> {
  const threads = options.threads ?? host.threads?.count() ?? 1;
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS) {
    throw new DeviceError(`${threads} is no number of threads: it must be an integer from 1 to ${MOST_THREADS}`);
  }
  let refusal: string | undefined;
  const attempt = async <T>(work: (host: NonNullable<Host['threads']>) => T | Promise<T>): Promise<T | undefined> => {
    if (threads === 1 || refusal !== undefined) return undefined;
    try {
      if (host.threads === undefined) throw new Error('nothing here starts threads');
      return await work(host.threads);
    } catch (error) {
      refusal = (error as Error).message.split('\n')[0] ?? '';
      return undefined;
    }
  };
  allowWasmSimd(host.wasmSimd?.() ?? 'relaxed');
  await attempt(prepareSharedHeap);
  if (!(await tf.setBackend('wasm')))
    throw new DeviceError('the WASM backend did not start: this JavaScript engine may lack WebAssembly SIMD');
  await tf.ready();
  failOnExhaustion(tf.backend());
  const endThreads = await attempt((source) => addThreads(tf.backend(), threads, source));
  const running = endThreads === undefined ? 1 : threads;
  return {
    name: 'wasm',
    backend: 'wasm',
    description: `WebAssembly SIMD on the CPU, ${running === 1 ? '1 thread' : `${running} threads`}${refusal === undefined ? '' : ` (${refusal})`}`,
    reason,
    software: false,
    features: [...(running === 1 ? [] : ['threads']), ...FEATURES[wasmSimd(tf.backend())]],
    guard: (work) => work,
    close: async () => endThreads?.(),
  };
}

const checkedHeaps = new WeakSet<object>();

/**
 * tfjs writes through the address 0 that malloc gives back when the 32-bit heap is full; here that becomes an error.
 */
function failOnExhaustion(backend: unknown): void {
  const heap = wasmHeap(backend);
  if (checkedHeaps.has(heap)) return;
  checkedHeaps.add(heap);
  replaceAllocator(heap, ({ allocate, free }) => ({
    allocate(bytes) {
      const address = allocate(bytes);
      if (address === 0 && bytes > 0) {
        throw new DeviceError(
          `the WASM heap is full: ${bytes} more bytes do not fit. Smaller batches, shorter rows (data.max_length) or load_in_4bit need less`,
        );
      }
      return address;
    },
    free,
  }));
}
