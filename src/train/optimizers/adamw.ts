import type * as tf from '@tensorflow/tfjs-core';
import { adamwUpdate } from '../../../kernels/index.js';
import { slotLike, type AdamWOptions, type UpdateRule } from './optimizer.js';

/** First and second moment. */
export const ADAMW_SLOTS = [slotLike('exp_avg'), slotLike('exp_avg_sq')];

/**
 * AdamW with the numbers of torch.optim.AdamW, in one kernel for all parameters: see adamwUpdate.
 * Source: Loshchilov & Hutter 2019, arXiv:1711.05101.
 */
export function adamw({
  adam_beta1: beta1,
  adam_beta2: beta2,
  adam_epsilon: epsilon,
  weight_decay: weightDecay,
}: AdamWOptions): UpdateRule {
  return {
    slots: ADAMW_SLOTS,
    inPlace: true,
    update(items, { learningRate, step, gradientScale }) {
      const moved = items.map(({ slots, ...item }) => {
        const [m, v] = slots as [tf.Variable, tf.Variable];
        return { ...item, m, v };
      });
      // Where nothing decays all of them are alike.
      const spared = weightDecay === 0 ? [] : moved.filter((item) => !item.decays);
      const pulled = spared.length === 0 ? moved : moved.filter((item) => item.decays);
      const options = { learningRate, beta1, beta2, epsilon, step };
      if (pulled.length > 0) adamwUpdate(pulled, { ...options, weightDecay }, gradientScale);
      if (spared.length > 0) adamwUpdate(spared, { ...options, weightDecay: 0 }, gradientScale);
    },
  };
}
