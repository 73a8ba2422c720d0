import * as tf from '@tensorflow/tfjs-core';
import type { Decoder } from './decoder.js';

/**
 * The base model's own tensors that were loaded to be trained, by their names in the checkpoint, in the order of the
 * layers.
 */
export function trainedTensors(decoder: Decoder): Map<string, tf.Variable> {
  const { linears, floats } = decoder.weights;
  const tensors: (readonly [string, tf.Tensor | undefined])[] = [...floats];
  for (const [name, { weight, bias }] of linears) {
    tensors.push([`${name}.weight`, weight.kind === 'dense' ? weight.values : undefined], [`${name}.bias`, bias]);
  }
  return new Map(tensors.filter((entry): entry is [string, tf.Variable] => entry[1] instanceof tf.Variable));
}
