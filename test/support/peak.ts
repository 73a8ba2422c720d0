import * as tf from '@tensorflow/tfjs-core';
import { gpuBackend } from '../../kernels/tfjs/webgpu.js';

export { watchMemory } from '../../src/bench/memory.js';

/**
 * From now on WebGPU work is recorded and not executed, until the function that comes back is called. No effect on
 * other backends.
 */
export function holdGpu(): () => void {
  if (tf.getBackend() !== 'webgpu') return () => undefined;
  const { queue } = gpuBackend();
  const submit = queue.submit.bind(queue);
  queue.submit = () => undefined;
  return () => {
    queue.submit = submit;
  };
}
