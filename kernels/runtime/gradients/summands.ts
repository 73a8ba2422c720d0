import * as tf from '@tensorflow/tfjs-core';
import { wasmOffset } from '../wasm/module.js';

/**
 * Parts of a gradient that an op's own backward pass adds up: as many as leave room for the rest in eight storage
 * buffers.
 */
export const MOST_PARTS = 3;

/** The incoming gradient of an op's first output, as a list. Only the walk of backward.ts hands over several. */
export function gradientParts(dys: unknown): tf.Tensor[] {
  const [dy] = dys as [tf.Tensor | tf.Tensor[]];
  return Array.isArray(dy) ? dy : [dy];
}

/** Inputs dy0, dy1, … of a backward op. */
export function namedParts(parts: readonly tf.Tensor[]): Record<string, tf.Tensor> {
  return Object.fromEntries(parts.map((part, i) => [`dy${i}`, part]));
}

/** Those inputs as a list. */
export function partsIn<T extends tf.TensorInfo>(inputs: Record<string, T | undefined>): T[] {
  return Array.from({ length: MOST_PARTS }, (_, i) => inputs[`dy${i}`]).filter((part) => part !== undefined);
}

/** Their sum in stock ops. */
export function sumParts(inputs: Record<string, tf.Tensor>): tf.Tensor2D {
  return partsIn(inputs).reduce((sum, part) => tf.add(sum, part)) as tf.Tensor2D;
}

/** Their offsets on the heap of WASM; 0 where there is none. */
export function partPointers(backend: unknown, inputs: Record<string, tf.TensorInfo>): number[] {
  return Array.from({ length: MOST_PARTS }, (_, i) => {
    const part = inputs[`dy${i}`];
    return part === undefined ? 0 : wasmOffset(backend, part);
  });
}
