import * as tf from '@tensorflow/tfjs-core';
import { slotLike, type OptimizerOptions, type UpdateRule } from './optimizer.js';

/**
 * Stochastic gradient descent with the numbers of torch.optim.SGD: d = g + wd·p; b ← μ·b + d; p ← p − lr·b. Without
 * momentum b is d, and nothing is kept. In stock ops: the update is a small share of a step.
 */
export function sgd({
  momentum = 0,
  weight_decay: weightDecay,
}: Pick<OptimizerOptions, 'momentum' | 'weight_decay'>): UpdateRule {
  return {
    slots: momentum === 0 ? [] : [slotLike('momentum_buffer')],
    inPlace: false,
    update(items, { learningRate, gradientScale, store }) {
      for (const { parameter, gradient, slots, learningRateScale, decays } of items) {
        tf.tidy(() => {
          const g = tf.mul(gradient, gradientScale);
          const d = decays && weightDecay > 0 ? tf.add(g, tf.mul(parameter, weightDecay)) : g;
          const [buffer] = slots;
          const direction = buffer === undefined ? d : tf.add(tf.mul(buffer, momentum), d);
          store(parameter, tf.sub(parameter, tf.mul(direction, learningRate * learningRateScale)));
          if (buffer !== undefined) store(buffer, direction);
        });
      }
    },
  };
}
