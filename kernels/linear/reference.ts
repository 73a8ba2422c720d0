import * as tf from '@tensorflow/tfjs-core';
import { dequantizeOp } from '../nf4-dequantize/kernel.js';
import { weightTensors } from '../nf4-dequantize/weight.js';
import { runOp, type Attrs } from '../runtime/op.js';

type Matrices = Record<string, tf.Tensor2D | undefined>;

/** [y] or [y, xa] of LowrankLinear in stock ops. */
export function linearReference(inputs: Record<string, tf.Tensor>, attrs: Attrs): tf.Tensor2D[] {
  const { x, a, b, bias, loraInput } = inputs as Matrices & { x: tf.Tensor2D };
  let y: tf.Tensor2D = tf.matMul(x, floatWeight(inputs, attrs), false, true);
  if (bias !== undefined) y = tf.add(y, bias);
  if (a === undefined || b === undefined) return [y];
  const xa: tf.Tensor2D = tf.matMul(loraInput ?? x, a, false, true);
  // The scale on the narrow factor: y is as wide as the layer.
  return [tf.add(y, tf.matMul(tf.mul(xa, attrs['scale'] as number), b, false, true)), xa];
}

/** dx of LowrankLinearGrad in stock ops. */
export function linearGradReference(inputs: Record<string, tf.Tensor>, attrs: Attrs): tf.Tensor2D {
  const { dy, a, dyb } = inputs as Matrices & { dy: tf.Tensor2D };
  const dx: tf.Tensor2D = tf.matMul(dy, floatWeight(inputs, attrs));
  return a === undefined || dyb === undefined ? dx : tf.add(dx, tf.matMul(dyb, a));
}

function floatWeight(inputs: Record<string, tf.Tensor>, attrs: Attrs): tf.Tensor2D {
  return (inputs['w'] ?? runOp(dequantizeOp, weightTensors(inputs), attrs)) as tf.Tensor2D;
}
