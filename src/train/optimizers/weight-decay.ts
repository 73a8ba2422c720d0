import { adamwUpdate, type AdamwItem } from '../../../kernels/index.js';
import type { AdamWOptions } from './optimizer.js';

/**
 * Whether weight decay pulls at a trained parameter: at all but norm weights and biases, which alone have one
 * dimension, beside DoRA's magnitudes. As Hugging Face's Trainer tells them apart by their names
 * (`get_decay_parameter_names`).
 */
export function decays({
  key,
  variable,
}: {
  readonly key: string;
  readonly variable: { readonly shape: readonly number[] };
}): boolean {
  return variable.shape.length > 1 || key.includes('.lora_magnitude_vector');
}

export interface DecayedItem extends AdamwItem {
  readonly decays: boolean;
}

/** One update of parameters of which only some decay. */
export function updateDecayed(
  items: readonly DecayedItem[],
  options: AdamWOptions,
  learningRate: number,
  step: number,
  gradientScale: Parameters<typeof adamwUpdate>[2],
): void {
  const { adam_beta1: beta1, adam_beta2: beta2, adam_epsilon: epsilon, weight_decay: weightDecay } = options;
  // Where nothing decays all of them are alike.
  const spared = weightDecay === 0 ? [] : items.filter((item) => !item.decays);
  const pulled = spared.length === 0 ? items : items.filter((item) => item.decays);
  if (pulled.length > 0) adamwUpdate(pulled, { learningRate, beta1, beta2, epsilon, weightDecay, step }, gradientScale);
  if (spared.length > 0)
    adamwUpdate(spared, { learningRate, beta1, beta2, epsilon, weightDecay: 0, step }, gradientScale);
}
