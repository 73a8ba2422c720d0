import * as tf from '@tensorflow/tfjs-core';

export { watchMemory } from '../../src/bench/memory.js';

/**
 * From now on WebGPU work is recorded and not executed, until the function that comes back is called. No effect on
 * other backends.
 */
export function holdGpu(): () => void {
  if (tf.getBackend() !== 'webgpu') return () => undefined;
  const { queue } = tf.backend() as unknown as { queue: { submit: (buffers: unknown[]) => void } };
  const submit = queue.submit.bind(queue);
  queue.submit = () => undefined;
  return () => {
    queue.submit = submit;
  };
}
