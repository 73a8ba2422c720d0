import * as tf from '@tensorflow/tfjs-core';
import { slotLike, type AdamWOptions, type UpdateRule } from './optimizer.js';

/**
 * Lion: p ← p·(1 − lr·wd) − lr·sign(β₁·m + (1 − β₁)·g); m ← β₂·m + (1 − β₂)·g. One slot, half of AdamW's state. Every
 * value moves by lr: learning rates are a third to a tenth of AdamW's. In stock ops: the update is a small share of a
 * step.
 * Source: Chen et al. 2023, arXiv:2302.06675.
 */
export function lion({
  adam_beta1: beta1,
  adam_beta2: beta2,
  weight_decay: weightDecay,
}: Pick<AdamWOptions, 'adam_beta1' | 'adam_beta2' | 'weight_decay'>): UpdateRule {
  return {
    slots: [slotLike('exp_avg')],
    inPlace: false,
    update(items, { learningRate, gradientScale, store }) {
      for (const { parameter, gradient, slots, learningRateScale, decays } of items) {
        const m = slots[0] as tf.Variable;
        const lr = learningRate * learningRateScale;
        tf.tidy(() => {
          const g = tf.mul(gradient, gradientScale);
          const direction = tf.sign(tf.add(tf.mul(m, beta1), tf.mul(g, 1 - beta1)));
          const pulled = decays && weightDecay > 0 ? tf.mul(parameter, 1 - lr * weightDecay) : parameter;
          const moved = tf.sub(pulled, tf.mul(direction, lr));
          const average = tf.add(tf.mul(m, beta2), tf.mul(g, 1 - beta2));
          store(parameter, moved);
          store(m, average);
        });
      }
    },
  };
}
