import * as tf from '@tensorflow/tfjs-core';

/** A non-linearity: x·σ(x), x·Φ(x), the latter with its tanh approximation, or max(x, 0). */
export type Activation = 'silu' | 'gelu' | 'gelu_tanh' | 'relu';

const TANH_SCALE = Math.sqrt(2 / Math.PI);
const TANH_CUBIC = 0.044715;

/** [act(x), act'(x)] in stock ops. */
function activate(x: tf.Tensor, activation: Activation): [value: tf.Tensor, slope: tf.Tensor] {
  switch (activation) {
    case 'silu': {
      const s = tf.sigmoid(x);
      const value = tf.mul(x, s);
      return [value, tf.add(s, tf.mul(value, tf.sub(1, s)))];
    }
    case 'gelu': {
      const cdf = tf.mul(0.5, tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2))));
      const density = tf.mul(1 / Math.sqrt(2 * Math.PI), tf.exp(tf.mul(-0.5, tf.square(x))));
      return [tf.mul(x, cdf), tf.add(cdf, tf.mul(x, density))];
    }
    case 'gelu_tanh': {
      const squared = tf.square(x);
      const t = tf.tanh(tf.mul(tf.mul(TANH_SCALE, x), tf.add(1, tf.mul(TANH_CUBIC, squared))));
      const half = tf.mul(0.5, tf.add(1, t));
      const inner = tf.mul(TANH_SCALE, tf.add(1, tf.mul(3 * TANH_CUBIC, squared)));
      return [tf.mul(x, half), tf.add(half, tf.mul(tf.mul(0.5, x), tf.mul(tf.sub(1, tf.square(t)), inner)))];
    }
    case 'relu':
      return [tf.relu(x), tf.step(x)];
  }
}

/** act(x) in stock ops. */
export function activateReference(x: tf.Tensor, activation: Activation): tf.Tensor {
  return activate(x, activation)[0];
}

/** dx of act(x) in stock ops. */
export function activateGradReference(dy: tf.Tensor, x: tf.Tensor, activation: Activation): tf.Tensor {
  return tf.mul(dy, activate(x, activation)[1]);
}

/** act(gate)·up in stock ops. */
export function swigluReference(gate: tf.Tensor, up: tf.Tensor, activation: Activation): tf.Tensor {
  return tf.mul(activate(gate, activation)[0], up);
}

/** [dgate, dup] in stock ops. */
export function swigluGradReference(
  dy: tf.Tensor,
  gate: tf.Tensor,
  up: tf.Tensor,
  activation: Activation,
): [tf.Tensor, tf.Tensor] {
  const [value, slope] = activate(gate, activation);
  return [tf.mul(dy, tf.mul(slope, up)), tf.mul(dy, value)];
}
