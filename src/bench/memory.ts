import * as tf from '@tensorflow/tfjs-core';
import { replaceMethod } from '../../kernels/tfjs/replace-method.js';
import { wasmHeapBytes, watchWasmOutputs } from '../../kernels/tfjs/wasm.js';

/**
 * Bytes that the backend has taken from the system and keeps: WebGPU's buffer pool, WASM's heap. null where it cannot
 * tell.
 */
export function deviceBytes(): number | null {
  const { numBytesAllocatedInGPU } = tf.memory() as { numBytesAllocatedInGPU?: number };
  if (numBytesAllocatedInGPU !== undefined) return numBytesAllocatedInGPU;
  return wasmHeapBytes(tf.backend()) ?? null;
}

/** Bytes of tensor memory on the current backend. */
export interface MemoryWatch {
  /** Now. */
  readonly bytes: number;
  /** The most since the last call of `reset`. */
  readonly peak: number;
  /** Starts the peak afresh from what is there now. */
  reset(): void;
  stop(): void;
}

/**
 * Follows what the current backend allocates from now on, kernels' own temporary tensors included. tf.memory() does not
 * tell this: it is only seen between kernels, and counts every clone of a tensor as if it had memory of its own.
 */
export function watchMemory(): MemoryWatch {
  const backend = tf.backend();
  const sizes = new Map<object, number>();
  let [bytes, peak] = [0, 0];
  const add = (dataId: object, shape: number[], dtype: tf.DataType): void => {
    const size = tf.util.sizeFromShape(shape) * tf.util.bytesPerElement(dtype);
    bytes += size - (sizes.get(dataId) ?? 0);
    sizes.set(dataId, size);
    peak = Math.max(peak, bytes);
  };
  const restored = [
    replaceMethod(backend, 'write', (write) => (values, shape, dtype) => {
      const dataId = write(values, shape, dtype);
      add(dataId, shape, dtype);
      return dataId;
    }),
    replaceMethod(backend, 'move', (move) => (dataId, values, shape, dtype, refCount) => {
      move(dataId, values, shape, dtype, refCount);
      add(dataId, shape, dtype);
    }),
    watchWasmOutputs(backend, ({ dataId }, shape, dtype) => {
      add(dataId, shape, dtype);
    }),
    replaceMethod(backend, 'disposeData', (disposeData) => (dataId, force) => {
      const gone = disposeData(dataId, force);
      if (gone) {
        bytes -= sizes.get(dataId) ?? 0;
        sizes.delete(dataId);
      }
      return gone;
    }),
  ];
  return {
    get bytes() {
      return bytes;
    },
    get peak() {
      return peak;
    },
    reset() {
      peak = bytes;
    },
    stop() {
      for (const restore of restored) restore();
    },
  };
}
