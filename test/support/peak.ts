import * as tf from '@tensorflow/tfjs-core';

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
  disposeData: (this: Storage, dataId: object, force?: boolean) => boolean;
}

/**
 * Follows what the current backend allocates from now on, kernels' own temporary tensors included. tf.memory() does not tell this:
 * it is only seen between kernels, and counts every clone of a tensor as if it had memory of its own.
 */
export function watchMemory(): MemoryWatch {
  const backend = tf.backend() as unknown as Storage;
  const { write, move, disposeData } = backend;
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
      Object.assign(backend, { write, move, disposeData });
    },
  };
}

/** From now on WebGPU work is recorded and not executed, until the function that comes back is called. No effect on other backends. */
export function holdGpu(): () => void {
  if (tf.getBackend() !== 'webgpu') return () => undefined;
  const { queue } = tf.backend() as unknown as { queue: { submit: (buffers: unknown[]) => void } };
  const submit = queue.submit.bind(queue);
  queue.submit = () => undefined;
  return () => {
    queue.submit = submit;
  };
}
