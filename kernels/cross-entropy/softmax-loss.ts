import type * as tf from '@tensorflow/tfjs-core';
import { runOpMulti, type Op } from '../runtime/op.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmOffset, wasmOutput, wasmScratchBytes } from '../runtime/wasm/module.js';
import { gpuDispatch, gpuInPlace, gpuOutput, gpuWorkgroups } from '../runtime/webgpu/dispatch.js';
import { softmaxLossReference } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/**
 * Per-row −log softmax(logits)[label] and, when wanted, its gradient softmax(logits) − onehot(label).
 * The gradient may be written over the logits: they are consumed, must share their memory with no other tensor, and are
 * disposed.
 *
 * @param logits `[rows, vocab]` float32
 * @param labels `[rows]` int32
 * @returns losses `[rows]`, dlogits `[rows, vocab]`
 */
export function softmaxLoss(
  logits: tf.Tensor2D,
  labels: tf.Tensor1D,
  withGradient: boolean,
): { losses: tf.Tensor1D; dlogits: tf.Tensor2D | undefined } {
  const [losses, dlogits] = runOpMulti(softmaxLossOp, { logits, labels }, { withGradient });
  logits.dispose();
  return { losses: losses as tf.Tensor1D, dlogits: dlogits as tf.Tensor2D | undefined };
}

export const softmaxLossOp: Op = {
  name: 'LowrankSoftmaxLoss',
  reference: (inputs, attrs) =>
    softmaxLossReference(
      inputs['logits'] as tf.Tensor2D,
      inputs['labels'] as tf.Tensor1D,
      attrs['withGradient'] as boolean,
    ),
  wasm: ({ inputs, attrs, backend }) => {
    const { logits, labels } = inputs as Record<'logits' | 'labels', tf.TensorInfo>;
    const [rows, vocab] = logits.shape as [number, number];
    const gradient = attrs['withGradient'] as boolean;
    const losses = wasmOutput(backend, [rows]);
    const at = (t: tf.TensorInfo): number => wasmOffset(backend, t);
    parallelFor(backend, wasmSource, 'softmaxLoss', [at(logits), at(labels), at(losses), vocab, gradient ? 1 : 0], {
      count: rows,
      cost: 1.2 * vocab,
      scratchBytes: wasmScratchBytes(backend, wasmSource),
    });
    return gradient ? [losses, again(backend, logits)] : [losses];
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { logits, labels } = inputs as Record<'logits' | 'labels', tf.TensorInfo>;
    const [rows, vocab] = logits.shape as [number, number];
    const gradient = attrs['withGradient'] as boolean;
    const losses = gpuOutput(backend, [rows]);
    const program = {
      name: 'cross-entropy/softmax-loss',
      code: wgsl.softmaxLoss,
      constants: { GRADIENT: gradient ? 1 : 0 },
    };
    gpuInPlace(backend, logits);
    gpuDispatch(
      backend,
      program,
      [logits, labels, losses],
      [
        ['u', rows],
        ['u', vocab],
      ],
      gpuWorkgroups(rows, 1),
    );
    return gradient ? [losses, again(backend, logits)] : [losses];
  },
  gradient: null,
};

/** The same memory as an output: the logits are as large as all else here together, and nobody needs them any more. */
function again(backend: unknown, tensor: tf.TensorInfo): tf.TensorInfo {
  (backend as tf.KernelBackend).incRef(tensor.dataId);
  return { dataId: tensor.dataId, shape: tensor.shape, dtype: tensor.dtype };
}
