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

/** What saving for the backward pass touches of tfjs's engine. */
interface Saving {
  readonly backend: tf.KernelBackend;
  readonly state: { readonly tensorInfo: WeakMap<object, { readonly backend: tf.KernelBackend }> };
  clone(x: tf.Tensor): tf.Tensor;
  makeTensorFromTensorInfo(info: tf.TensorInfo): tf.Tensor;
  saveTensorsForBackwardMode(tensors: readonly tf.Tensor[]): tf.Tensor[];
}

/**
 * What an op saves for its backward pass becomes another tensor over the same memory, and no more. tfjs runs an op for
 * each, with a node on the tape: most ops of a step of training would be these.
 */
export function saveWithoutOps(): void {
  const engine = tf.engine() as unknown as Saving;
  engine.saveTensorsForBackwardMode = (tensors) =>
    tensors.map((x) => {
      const { backend } = engine;
      // What another backend holds is moved by an op.
      if (x.dtype === 'string' || x.dtype === 'complex64' || engine.state.tensorInfo.get(x.dataId)?.backend !== backend)
        return tf.keep(engine.clone(x));
      backend.incRef(x.dataId);
      return tf.keep(engine.makeTensorFromTensorInfo({ dataId: x.dataId, shape: x.shape, dtype: x.dtype }));
    });
}
