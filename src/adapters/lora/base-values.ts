import * as tf from '@tensorflow/tfjs-core';
import { downloadQuantized, type FrozenWeight } from '../../../kernels/index.js';
import { dequantize4bit } from '../../quant/quantize.js';

/** A frozen weight's values on the host, row-major `[out, in]`; a 4-bit one decoded. */
export async function hostValues(weight: FrozenWeight): Promise<Float32Array> {
  return weight.kind === 'dense'
    ? (await weight.values.data<'float32'>()).slice()
    : dequantize4bit(await downloadQuantized(weight));
}

/**
 * ‖wᵢ‖² of each row of a frozen weight, `[out]`. A 4-bit weight is decoded on the host, so that the device never holds
 * it as floats.
 */
export async function squaredRowNorms(weight: FrozenWeight): Promise<tf.Tensor1D> {
  if (weight.kind === 'dense') return tf.tidy(() => tf.sum(tf.square(weight.values), 1) as tf.Tensor1D);
  const [out, inner] = weight.shape;
  const values = await hostValues(weight);
  const squares = new Float32Array(out);
  for (let row = 0; row < out; row++) {
    let sum = 0;
    for (let i = row * inner; i < (row + 1) * inner; i++) sum += (values[i] as number) ** 2;
    squares[row] = sum;
  }
  return tf.tensor1d(squares);
}
