import type { Host } from './device.js';

/**
 * A page or worker: WebGPU is `navigator.gpu`; where the page is cross-origin isolated tfjs starts on shared memory by
 * itself.
 */
export const browserHost: Host = {
  gpu: () => {
    const gpu: GPU | undefined = globalThis.navigator.gpu;
    return Promise.resolve(gpu ?? { missing: 'this browser has no navigator.gpu' });
  },

  threads: {
    count: () => (globalThis.crossOriginIsolated ? Math.min(globalThis.navigator.hardwareConcurrency, 16) : 1),

    spawn(script, data) {
      const url = URL.createObjectURL(
        new Blob([`onmessage = (event) => (${script})(event.data)`], { type: 'text/javascript' }),
      );
      const worker = new Worker(url);
      worker.postMessage(data);
      return {
        terminate: () => {
          worker.terminate();
          URL.revokeObjectURL(url);
          return Promise.resolve();
        },
      };
    },
  },
};
