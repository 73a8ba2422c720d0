import { gpuDispatchCount } from '../../kernels/index.js';
import { gpuBackend, replaceGpuMethod } from '../../kernels/tfjs/webgpu.js';

/**
 * Dispatches that `body` records on the webgpu backend: by this package's kernels, and by tfjs's own programs with
 * their names.
 */
export function countDispatches(body: () => void): { own: number; stock: string[] } {
  const gpu = gpuBackend();
  const stock: string[] = [];
  const before = gpuDispatchCount(gpu);
  const restore = replaceGpuMethod(gpu, 'runProgram', (run) => (program, ...rest) => {
    stock.push(program.constructor.name);
    return run(program, ...rest);
  });
  try {
    body();
  } finally {
    restore();
  }
  return { own: gpuDispatchCount(gpu) - before, stock };
}
