import * as tf from '@tensorflow/tfjs-core';
import { gpuDispatchCount } from '../../kernels/index.js';

/**
 * Dispatches that `body` records on the webgpu backend: by this package's kernels, and by tfjs's own programs with
 * their names.
 */
export function countDispatches(body: () => void): { own: number; stock: string[] } {
  const backend = tf.backend() as tf.KernelBackend & { runWebGPUProgram(program: object, ...rest: unknown[]): unknown };
  const stock: string[] = [];
  const before = gpuDispatchCount(backend);
  const run = backend.runWebGPUProgram.bind(backend);
  backend.runWebGPUProgram = (program, ...rest) => {
    stock.push(program.constructor.name);
    return run(program, ...rest);
  };
  try {
    body();
  } finally {
    // The method itself lies on the prototype.
    delete (backend as { runWebGPUProgram?: unknown }).runWebGPUProgram;
  }
  return { own: gpuDispatchCount(backend) - before, stock };
}
