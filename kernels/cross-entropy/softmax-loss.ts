import * as tf from '@tensorflow/tfjs-core';
import { runOpMulti, type Op } from '../runtime/op.js';
import { softmaxLossReference } from './reference.js';

/**
 * Per-row −log softmax(logits)[label] and, when wanted, its gradient softmax(logits) − onehot(label).
 * The logits' memory may be reused for the gradient: they are consumed and disposed.
 *
 * @param logits `[rows, vocab]` float32
 * @param labels `[rows]` int32
 * @returns losses `[rows]`, dlogits `[rows, vocab]`
 */
export function softmaxLoss(logits: tf.Tensor2D, labels: tf.Tensor1D, withGradient: boolean): { losses: tf.Tensor1D; dlogits: tf.Tensor2D | undefined } {
  const [losses, dlogits] = runOpMulti(softmaxLossOp, { logits, labels }, { withGradient });
  logits.dispose();
  return { losses: losses as tf.Tensor1D, dlogits: dlogits as tf.Tensor2D | undefined };
}

export const softmaxLossOp: Op = {
  name: 'LowrankSoftmaxLoss',
  reference: (inputs, attrs) => softmaxLossReference(inputs['logits'] as tf.Tensor2D, inputs['labels'] as tf.Tensor1D, attrs['withGradient'] as boolean),
  gradient: null,
};
