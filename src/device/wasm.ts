import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-wasm';
import { DeviceError } from '../errors.js';
import type { Device } from './device.js';

/** Opens tfjs's WASM backend. */
export async function openWasm(reason: string): Promise<Device> {
  if (!(await tf.setBackend('wasm'))) throw new DeviceError('the WASM backend did not start: this JavaScript engine may lack WebAssembly SIMD');
  await tf.ready();
  failOnExhaustion(tf.backend());
  return {
    name: 'wasm',
    backend: 'wasm',
    description: 'WebAssembly SIMD on the CPU',
    reason,
    software: false,
    features: [],
    guard: (work) => work,
    close: () => Promise.resolve(),
  };
}

/** tfjs writes through the address 0 that malloc gives back when the 32-bit heap is full; here that becomes an error. */
function failOnExhaustion(backend: unknown): void {
  const { wasm } = backend as { wasm: { _malloc: (bytes: number) => number; exhaustionChecked?: boolean } };
  if (wasm.exhaustionChecked === true) return;
  const malloc = wasm._malloc;
  wasm._malloc = (bytes) => {
    const address = malloc(bytes);
    if (address === 0 && bytes > 0) {
      throw new DeviceError(`the WASM heap is full: ${bytes} more bytes do not fit. Smaller batches, shorter rows (data.max_length) or load_in_4bit need less`);
    }
    return address;
  };
  wasm.exhaustionChecked = true;
}
