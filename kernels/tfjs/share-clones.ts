import * as tf from '@tensorflow/tfjs-core';
// Registers its own kernels, which must have happened before one of them is replaced.
import '@tensorflow/tfjs-backend-wasm';

/**
 * Lets clones of a tensor share its memory on WASM, as they do on every other backend. tfjs copies them there, and as
 * it clones whatever a backward pass will need, a step of training would copy every frozen weight and hold most
 * activations twice.
 */
export function shareClonesOnWasm(): void {
  const own = tf.getKernel(tf.Identity, 'wasm');
  tf.unregisterKernel(tf.Identity, 'wasm');
  tf.registerKernel({
    ...own,
    kernelFunc: (args) => {
      const x = args.inputs['x'] as tf.TensorInfo;
      if (x.dtype === 'string') return own.kernelFunc(args);
      (args.backend as tf.KernelBackend).incRef(x.dataId);
      return { dataId: x.dataId, shape: x.shape, dtype: x.dtype };
    },
  });
}
