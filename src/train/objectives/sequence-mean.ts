import * as tf from '@tensorflow/tfjs-core';
import { IGNORED } from '../../data/encode.js';
import { ConfigError } from '../../errors.js';
import { hiddenOf, type LabelledBatch } from '../../model/loss.js';
import type { Objective } from './objective.js';
import { tokenMean, type TokenInputs } from './token-mean.js';

/** Rows of a batch with something to learn. */
function supervisedRows({ labels, batch, seq }: LabelledBatch): number {
  let count = 0;
  // The first label of a row has nothing before it that predicts it.
  for (let b = 0; b < batch; b++)
    if (labels.subarray(b * seq + 1, (b + 1) * seq).some((label) => label !== IGNORED)) count++;
  return count;
}

/**
 * Cross-entropy with the same weight for every row instead of every token: L = −(1/R) Σ_rows (Σ_t log p) / (supervised
 * tokens of the row), over the R rows that have any. Long answers then count as much as short ones.
 */
export const sequenceMean: Objective<TokenInputs> = {
  name: 'sequence_mean',
  isCrossEntropy: true,
  metrics: [],
  itemCount: supervisedRows,
  inputs(decoder, batch, options) {
    if (batch.starts !== undefined)
      throw new ConfigError('training.objective sequence_mean takes no packed rows: several samples would be one row');
    return tokenMean.inputs(decoder, batch, options) as TokenInputs;
  },
  lossSum(decoder, inputs, context) {
    const hidden = hiddenOf(decoder, inputs, context);
    const { sums, counts } = decoder.head.rowLogProbabilities(
      hidden,
      inputs.targets,
      inputs.batch,
      context.training ?? true,
      context,
    );
    return tf.neg(tf.sum<tf.Scalar>(tf.div(sums, tf.maximum(counts, 1))));
  },
};
