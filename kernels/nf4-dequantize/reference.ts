import * as tf from '@tensorflow/tfjs-core';
import type { FloatDtype } from '../types.js';
import type { QuantizedAttrs } from './weight.js';

/**
 * A 4-bit weight decoded with stock ops; inputs and attributes as LowrankDequantize takes them. Wants exact int32 ops.
 */
export function dequantizeReference(inputs: Record<string, tf.Tensor>, attrs: QuantizedAttrs): tf.Tensor2D {
  const { rows, cols, blockSize, nestedBlockSize, offset, dtype } = attrs;
  const count = rows * cols;
  const blocks = Math.ceil(count / blockSize);
  let absmax = inputs['absmax'];
  if (nestedBlockSize > 0) {
    const values = tf.gather(
      inputs['absmaxMap'] as tf.Tensor1D,
      firstOf(bytesOfWords(inputs['absmaxCodes'] as tf.Tensor1D), blocks),
    );
    absmax = tf.add(scaledByBlock(values, inputs['nestedAbsmax'] as tf.Tensor1D, nestedBlockSize), offset);
  }
  const nibbles = firstOf(nibblesOfWords(inputs['packed'] as tf.Tensor1D), count);
  const values = scaledByBlock(tf.gather(inputs['code'] as tf.Tensor1D, nibbles), absmax as tf.Tensor1D, blockSize);
  return tf.reshape(roundToDtype(values, dtype), [rows, cols]);
}

function firstOf(values: tf.Tensor, count: number): tf.Tensor1D {
  return tf.slice(tf.reshape(values, [values.size]), 0, count) as tf.Tensor1D;
}

/** values[i] · scales[i div blockSize]. */
function scaledByBlock(values: tf.Tensor1D, scales: tf.Tensor1D, blockSize: number): tf.Tensor1D {
  const padded = tf.pad(values, [[0, scales.size * blockSize - values.size]]);
  return firstOf(
    tf.mul(tf.reshape(padded, [scales.size, blockSize]), tf.reshape(scales, [scales.size, 1])),
    values.size,
  );
}

/** The low and high 16 bits of int32 words, each in [0, 65536). */
function halves(words: tf.Tensor1D): [low: tf.Tensor1D, high: tf.Tensor1D] {
  const int = (v: number): tf.Scalar => tf.scalar(v, 'int32');
  // tfjs-wasm divides integers in float32: the quotient may be one off, and its remainder shows it.
  const guess = tf.floorDiv(words, int(65536));
  const rest = tf.sub(words, tf.mul(guess, int(65536)));
  const below = tf.cast(tf.less(rest, int(0)), 'int32');
  const above = tf.cast(tf.greaterEqual(rest, int(65536)), 'int32');
  const carry = tf.sub(above, below);
  const high = tf.add(guess, carry);
  const low = tf.sub(rest, tf.mul(carry, int(65536)));
  return [low, tf.add(high, tf.mul(tf.cast(tf.less(high, int(0)), 'int32'), int(65536)))] as [tf.Tensor1D, tf.Tensor1D];
}

/** [quotient, remainder] of small non-negative integers by a power of two: exact in float32 too. */
function split(values: tf.Tensor1D, by: number): [tf.Tensor1D, tf.Tensor1D] {
  const divisor = tf.scalar(by, 'int32');
  const quotient = tf.floorDiv(values, divisor) as tf.Tensor1D;
  return [quotient, tf.sub(values, tf.mul(quotient, divisor))];
}

/** int32 `[words, 4]`: the bytes of each word, lowest first. */
function bytesOfWords(words: tf.Tensor1D): tf.Tensor2D {
  const bytes = halves(words).flatMap((half) => split(half, 256).reverse());
  return tf.stack(bytes, 1) as tf.Tensor2D;
}

/** int32 `[words · 4, 2]`: the nibbles of each byte, the high one first. */
function nibblesOfWords(words: tf.Tensor1D): tf.Tensor2D {
  const bytes = bytesOfWords(words);
  return tf.stack(split(tf.reshape(bytes, [bytes.size]) as tf.Tensor1D, 16), 1) as tf.Tensor2D;
}

const SIGNIFICAND_BITS: Readonly<Record<Exclude<FloatDtype, 'F32'>, number>> = { F16: 11, BF16: 8 };

/** Rounds float32 values to a narrower dtype, to nearest, ties to even. */
function roundToDtype(values: tf.Tensor1D, dtype: FloatDtype): tf.Tensor1D {
  if (dtype === 'F32') return values;
  const magnitude = tf.abs(values);
  // Next to 1.5 · 2^(24 − bits) times the value's own power of two, float32 keeps just the wanted bits.
  const power = powerOfTwoBelow(magnitude);
  const shift = tf.mul(
    dtype === 'F16' ? tf.maximum(power, 2 ** -14) : power,
    1.5 * 2 ** (24 - SIGNIFICAND_BITS[dtype]),
  );
  const rounded = tf.sub(tf.add(magnitude, shift), shift);
  const limited =
    dtype === 'F16' ? tf.where(tf.greater(rounded, 65504), tf.fill(rounded.shape, Infinity), rounded) : rounded;
  // Not by tf.sign, which is 0 for small values on WASM.
  return tf.where(tf.less(values, 0), tf.neg(limited), limited) as tf.Tensor1D;
}

/** The largest power of two not above each value; 2^-63 for smaller ones. Values below 2^64. */
function powerOfTwoBelow(magnitude: tf.Tensor): tf.Tensor {
  let power = tf.fill(magnitude.shape, 2 ** -63);
  for (let step = 64; step >= 1; step /= 2) {
    const next = tf.mul(power, 2 ** step);
    power = tf.where(tf.lessEqual(next, magnitude), next, power);
  }
  return power;
}
