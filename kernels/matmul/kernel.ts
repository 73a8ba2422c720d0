import * as tf from '@tensorflow/tfjs-core';
import { runOp, type Op } from '../runtime/op.js';
import { wasmOutput } from '../runtime/wasm/module.js';
import { matmulSizes, type MatmulForm } from './form.js';
import { wasmGemm } from './wasm/gemm.js';
import { matmulReference } from './reference.js';
import { matmulWebgpu } from './webgpu/choose.js';

/**
 * y = scale · op(x) · op(w), float32. tfjs's own product is slow on WASM for all but `nn`, and so are its gradients.
 */
export function matmul(x: tf.Tensor2D, w: tf.Tensor2D, form: MatmulForm = 'nn', scale = 1): tf.Tensor2D {
  const { inner, innerOfW } = matmulSizes(x.shape, w.shape, form);
  tf.util.assert(
    inner === innerOfW,
    () => `matmul '${form}': [${x.shape.join(', ')}] and [${w.shape.join(', ')}] do not fit`,
  );
  return runOp(matmulOp, { x, w }, { form, scale }) as tf.Tensor2D;
}

/** Inputs x, w; attributes form and scale. */
export const matmulOp: Op = {
  name: 'LowrankMatmul',
  reference: (inputs, attrs) =>
    matmulReference(
      inputs['x'] as tf.Tensor2D,
      inputs['w'] as tf.Tensor2D,
      attrs['form'] as MatmulForm,
      attrs['scale'] as number,
    ),
  wasm: ({ inputs, attrs, backend }) => {
    const { x, w } = inputs as { x: tf.TensorInfo; w: tf.TensorInfo };
    const { form, scale } = attrs as unknown as { form: MatmulForm; scale: number };
    const { n, m } = matmulSizes(x.shape, w.shape, form);
    const y = wasmOutput(backend, [n, m]);
    wasmGemm(backend, x, w, y, form, { scale });
    return y;
  },
  webgpu: matmulWebgpu,
  gradient: {
    inputsToSave: ['x', 'w'],
    gradFunc: (dys, saved, attrs) => {
      const dy = (Array.isArray(dys) ? dys[0] : dys) as tf.Tensor2D;
      const [x, w] = saved as [tf.Tensor2D, tf.Tensor2D];
      const { form, scale } = attrs as unknown as { form: MatmulForm; scale: number };
      if (form === 'nt') return { x: () => matmul(dy, w, 'nn', scale), w: () => matmul(dy, x, 'tn', scale) };
      if (form === 'nn') return { x: () => matmul(dy, w, 'nt', scale), w: () => matmul(x, dy, 'tn', scale) };
      return { x: () => matmul(w, dy, 'nt', scale), w: () => matmul(x, dy, 'nn', scale) };
    },
  },
};
