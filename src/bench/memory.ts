import * as tf from '@tensorflow/tfjs-core';

/** Bytes that the backend has taken from the system and keeps: WebGPU's buffer pool, WASM's heap. null where it cannot tell. */
export function deviceBytes(): number | null {
  const { numBytesAllocatedInGPU } = tf.memory() as { numBytesAllocatedInGPU?: number };
  if (numBytesAllocatedInGPU !== undefined) return numBytesAllocatedInGPU;
  const { wasm } = tf.backend() as unknown as { wasm?: { HEAPU8?: Uint8Array } };
  return wasm?.HEAPU8?.buffer.byteLength ?? null;
}
