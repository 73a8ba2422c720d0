import * as tf from '@tensorflow/tfjs-core';
import { gpuLimits } from '../../kernels/runtime/webgpu/dispatch.js';
import type { MemoryPlan } from './settings.js';

/** What a device can hold, as far as it tells. */
export interface DeviceLimits {
  /** Bytes of all tensors together. WebGPU does not tell a GPU's memory. */
  readonly memory: { readonly bytes: number; readonly what: string } | undefined;
  /** Bytes of one tensor. */
  readonly tensor: { readonly bytes: number; readonly what: string } | undefined;
}

/** Addresses of 32 bits. */
const WASM_HEAP_BYTES = 2 ** 32;

/** Limits of tfjs's current backend. @param hostMemory bytes of the machine's memory, where they are known. */
export function currentLimits(
  device: { readonly backend: string; readonly software: boolean },
  hostMemory: number | undefined,
): DeviceLimits {
  const host = hostMemory === undefined ? undefined : { bytes: hostMemory, what: "this machine's memory" };
  switch (device.backend) {
    case 'webgpu': {
      const { maxBufferSize, maxStorageBufferBindingSize } = gpuLimits(tf.backend());
      const tensor =
        maxStorageBufferBindingSize <= maxBufferSize
          ? { bytes: maxStorageBufferBindingSize, what: 'maxStorageBufferBindingSize' }
          : { bytes: maxBufferSize, what: 'maxBufferSize' };
      return { memory: device.software ? host : undefined, tensor };
    }
    case 'wasm': {
      const heap = { bytes: WASM_HEAP_BYTES, what: 'the heap of WebAssembly' };
      return { memory: host !== undefined && host.bytes < heap.bytes ? host : heap, tensor: undefined };
    }
    default:
      // A GPU behind TensorFlow does not tell its memory either.
      return { memory: device.backend === 'cpu' ? host : undefined, tensor: undefined };
  }
}

/** Why a plan does not fit, one sentence each; empty when it does. */
export function obstacles(plan: MemoryPlan, limits: DeviceLimits): string[] {
  const found: string[] = [];
  const { memory, tensor } = limits;
  if (memory !== undefined && plan.total > memory.bytes)
    found.push(`it needs ${sizeText(plan.total)}, and ${memory.what} is ${sizeText(memory.bytes)}`);
  if (tensor !== undefined && plan.largestTransient > tensor.bytes) {
    found.push(
      `a step makes a tensor of ${sizeText(plan.largestTransient)}, and one may have ${sizeText(tensor.bytes)} (${tensor.what})`,
    );
  }
  return found;
}

/**
 * What is worth knowing although it fits. A base weight may be larger than a tensor: kernels take it in parts, a
 * stretch of rows each.
 */
export function concerns({ largestWeight }: MemoryPlan, { tensor }: DeviceLimits): string[] {
  if (tensor === undefined || largestWeight.bytes <= tensor.bytes) return [];
  const parts = Math.ceil(largestWeight.bytes / tensor.bytes);
  return [
    `${largestWeight.name} takes ${sizeText(largestWeight.bytes)} and is held in ${parts} parts, since a tensor may have ${sizeText(tensor.bytes)} here (${tensor.what})`,
  ];
}

/** Bytes in the largest unit that leaves a number of at least 1. */
export function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${units[power] as string}`;
}
