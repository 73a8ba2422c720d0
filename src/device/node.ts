import { createRequire } from 'node:module';
import type { Host } from './device.js';

/**
 * Dawn toggles: subgroup matrices are experimental, and Dawn hides f16 on NVIDIA's Vulkan driver unless it is asked for.
 */
const DAWN_OPTIONS = ['enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia'];

const TENSORFLOW_PACKAGES = { node: '@tensorflow/tfjs-node', 'node-gpu': '@tensorflow/tfjs-node-gpu' } as const;

let gpu: GPU | undefined;

/** Node: WebGPU through Dawn, TensorFlow through its optional packages. */
export const nodeHost: Host = {
  async gpu() {
    if (gpu !== undefined) return gpu;
    try {
      const dawn = await import('webgpu');
      Object.assign(globalThis, dawn.globals);
      gpu = dawn.create(DAWN_OPTIONS) as GPU;
    } catch (error) {
      return { missing: `Dawn does not load here: ${(error as Error).message.split('\n')[0] ?? ''}` };
    }
    // tfjs looks for navigator.gpu; Node 20 has no navigator, newer versions a read-only one.
    if (globalThis.navigator === undefined) Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true, writable: true });
    Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
    return gpu;
  },

  async tensorflow(name) {
    const specifier = TENSORFLOW_PACKAGES[name];
    try {
      createRequire(import.meta.url).resolve(specifier);
    } catch {
      throw new Error(`${specifier} is not installed (npm install ${specifier}@4.22.0)`);
    }
    await import(specifier);
  },

  release() {
    // Dawn keeps the process alive for as long as anything refers to this object.
    gpu = undefined;
    if (globalThis.navigator !== undefined) Reflect.deleteProperty(globalThis.navigator, 'gpu');
  },
};
