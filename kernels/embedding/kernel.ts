import * as tf from '@tensorflow/tfjs-core';
import { runOp, type Op } from '../runtime/op.js';
import { embeddingGradReference, embeddingReference } from './reference.js';

/**
 * Looks rows up: y[i] = table[ids[i]]. An id outside the table gives a row of zeros and no gradient; whether ids are
 * valid tokens is the caller's to check.
 *
 * @param table `[vocab, dim]` float32
 * @param ids `[n]` int32
 * @returns `[n, dim]`
 */
export function embedding(table: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor2D {
  tf.util.assert(table.rank === 2 && ids.rank === 1 && ids.dtype === 'int32', () => `embedding: table is [${table.shape.join(', ')}], ids is ${ids.dtype} [${ids.shape.join(', ')}]`);
  return runOp(embeddingOp, { table, ids }, { vocab: table.shape[0] }) as tf.Tensor2D;
}

export const embeddingOp: Op = {
  name: 'LowrankEmbedding',
  reference: (inputs) => embeddingReference(inputs['table'] as tf.Tensor2D, inputs['ids'] as tf.Tensor1D),
  gradient: {
    inputsToSave: ['ids'],
    gradFunc: (dys, saved, attrs) => {
      const dy = dys as tf.Tensor2D;
      const ids = saved[0] as tf.Tensor1D;
      return { table: () => runOp(embeddingGradOp, { dy, ids }, attrs) };
    },
  },
};

/** Scatter-add: dtable[v] = Σ over i with ids[i] = v of dy[i], summed in the order of i. */
export const embeddingGradOp: Op = {
  name: 'LowrankEmbeddingGrad',
  reference: (inputs, attrs) => embeddingGradReference(inputs['dy'] as tf.Tensor2D, inputs['ids'] as tf.Tensor1D, attrs['vocab'] as number),
  gradient: null,
};
