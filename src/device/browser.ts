import type { Host } from './device.js';

/** A page or worker: WebGPU is `navigator.gpu`. */
export const browserHost: Host = {
  gpu: () => {
    const gpu: GPU | undefined = globalThis.navigator.gpu;
    return Promise.resolve(gpu ?? { missing: 'this browser has no navigator.gpu' });
  },
};
