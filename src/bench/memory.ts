import * as tf from '@tensorflow/tfjs-core';

/**
 * Bytes that the backend has taken from the system and keeps: WebGPU's buffer pool, WASM's heap. null where it cannot
 * tell.
 */
export function deviceBytes(): number | null {
  const { numBytesAllocatedInGPU } = tf.memory() as { numBytesAllocatedInGPU?: number };
  if (numBytesAllocatedInGPU !== undefined) return numBytesAllocatedInGPU;
  const { wasm } = tf.backend() as unknown as { wasm?: { HEAPU8?: Uint8Array } };
  return wasm?.HEAPU8?.buffer.byteLength ?? null;
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

interface Storage {
  write: (this: Storage, values: unknown, shape: number[], dtype: tf.DataType) => object;
  move: (this: Storage, dataId: object, values: unknown, shape: number[], dtype: tf.DataType, refCount: number) => void;
  makeOutput?: (
    this: Storage,
    shape: number[],
    dtype: tf.DataType,
    address?: number,
    ...rest: unknown[]
  ) => tf.TensorInfo;
  disposeData: (this: Storage, dataId: object, force?: boolean) => boolean;
}

/**
 * Follows what the current backend allocates from now on, kernels' own temporary tensors included. tf.memory() does not
 * tell this: it is only seen between kernels, and counts every clone of a tensor as if it had memory of its own.
 */
export function watchMemory(): MemoryWatch {
  const backend = tf.backend() as unknown as Storage;
  const { write, move, makeOutput, disposeData } = backend;
  const sizes = new Map<object, number>();
  let [bytes, peak] = [0, 0];
  const add = (dataId: object, shape: number[], dtype: tf.DataType): void => {
    const size = tf.util.sizeFromShape(shape) * tf.util.bytesPerElement(dtype);
    bytes += size - (sizes.get(dataId) ?? 0);
    sizes.set(dataId, size);
    peak = Math.max(peak, bytes);
  };
  backend.write = function (values, shape, dtype) {
    const dataId = write.call(this, values, shape, dtype);
    add(dataId, shape, dtype);
    return dataId;
  };
  backend.move = function (dataId, values, shape, dtype, refCount) {
    move.call(this, dataId, values, shape, dtype, refCount);
    add(dataId, shape, dtype);
  };
  // On WASM, where kernels write to memory that they have already.
  if (makeOutput !== undefined) {
    backend.makeOutput = function (shape, dtype, address, ...rest) {
      const info = makeOutput.call(this, shape, dtype, address, ...rest);
      if (typeof address === 'number') add(info.dataId, shape, dtype);
      return info;
    };
  }
  backend.disposeData = function (dataId, force) {
    const gone = disposeData.call(this, dataId, force);
    if (gone) {
      bytes -= sizes.get(dataId) ?? 0;
      sizes.delete(dataId);
    }
    return gone;
  };
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
      Object.assign(backend, { write, move, disposeData }, makeOutput === undefined ? {} : { makeOutput });
    },
  };
}
