import * as tf from '@tensorflow/tfjs-core';

interface Reader {
  readSync(...args: unknown[]): unknown;
}

/** Kernels that hand on a tensor's memory and leave its values alone. */
const WITHOUT_VALUES: ReadonlySet<string> = new Set([tf.Identity, tf.Reshape, tf.ExpandDims]);

type Finish = (backend: unknown) => void;

const ordered = new WeakSet<object>();

/**
 * Has `finish` called before tfjs's own kernels on WASM run, and before tensors of this backend are read. @returns what
 * ends the latter
 */
export function inOrder(backend: unknown, finish: Finish): { close(): void } {
  orderKernels(finish);
  const reader = backend as Reader;
  const read = reader.readSync.bind(reader);
  reader.readSync = (...args) => {
    finish(backend);
    return read(...args);
  };
  return {
    close() {
      // The method of the class shows through again.
      Reflect.deleteProperty(reader, 'readSync');
    },
  };
}

/** Not those of this package: they keep their order by themselves. */
function orderKernels(finish: Finish): void {
  for (const config of tf.getKernelsForBackend('wasm')) {
    const { kernelName, kernelFunc } = config;
    if (kernelName.startsWith('Lowrank') || WITHOUT_VALUES.has(kernelName) || ordered.has(kernelFunc)) continue;
    const inTurn: tf.KernelFunc = (args) => {
      finish(args.backend);
      return kernelFunc(args);
    };
    ordered.add(inTurn);
    tf.unregisterKernel(kernelName, 'wasm');
    tf.registerKernel({ ...config, kernelFunc: inTurn });
  }
}
