import * as tf from '@tensorflow/tfjs-core';
import type { DenseWeight, FloatDtype, FrozenWeight, Packed4bit, QuantizedWeight } from '../types.js';

/** The attributes that every op over a 4-bit weight takes beside the weight's tensors. */
export interface QuantizedAttrs {
  /** Output features. */
  readonly rows: number;
  /** Input features. */
  readonly cols: number;
  readonly blockSize: number;
  /** Codes per nested_absmax value; 0 when the block scales are plain float32. */
  readonly nestedBlockSize: number;
  readonly offset: number;
  readonly dtype: FloatDtype;
}

/**
 * Puts a 4-bit weight on the current backend. The weight owns all of its tensors; `disposeWeight` frees them.
 *
 * @throws Error when the host arrays do not fit the shape
 */
export function uploadQuantized(host: Packed4bit): QuantizedWeight {
  const [out, inner] = host.shape as [number, number];
  const count = out * inner;
  const blocks = Math.ceil(count / host.blockSize);
  const scales = host.absmax.kind === 'plain' ? host.absmax.values.length : host.absmax.codes.length;
  tf.util.assert(
    host.shape.length === 2 &&
      host.packed.length === Math.ceil(count / 2) &&
      host.code.length === 16 &&
      scales === blocks,
    () =>
      `a 4-bit weight [${host.shape.join(', ')}] in blocks of ${host.blockSize} needs ${Math.ceil(count / 2)} bytes and ${blocks} block scales, found ${host.packed.length} and ${scales}`,
  );
  const { absmax } = host;
  const weight: QuantizedWeight = {
    kind: '4bit',
    shape: [out, inner],
    quantType: host.quantType,
    blockSize: host.blockSize,
    dtype: host.dtype,
    packed: words(host.packed),
    code: tf.tensor1d(host.code),
    absmax:
      absmax.kind === 'plain'
        ? { kind: 'plain', values: tf.tensor1d(absmax.values) }
        : {
            kind: 'nested',
            codes: words(absmax.codes),
            map: tf.tensor1d(absmax.map),
            nestedAbsmax: tf.tensor1d(absmax.nestedAbsmax),
            nestedBlockSize: absmax.nestedBlockSize,
            offset: absmax.offset,
          },
  };
  // An enclosing tidy must not take them.
  for (const tensor of Object.values(quantizedInputs(weight))) tf.keep(tensor);
  return weight;
}

/** A 4-bit weight as `uploadQuantized` took it. */
export async function downloadQuantized(weight: QuantizedWeight): Promise<Packed4bit> {
  const { shape, quantType, blockSize, dtype, absmax } = weight;
  const count = shape[0] * shape[1];
  const bytes = async (tensor: tf.Tensor1D, length: number): Promise<Uint8Array> =>
    new Uint8Array((await tensor.data<'int32'>()).slice().buffer, 0, length);
  const floats = async (tensor: tf.Tensor1D): Promise<Float32Array> => (await tensor.data<'float32'>()).slice();
  return {
    ...{ quantType, shape: [...shape], blockSize, dtype },
    packed: await bytes(weight.packed, Math.ceil(count / 2)),
    code: await floats(weight.code),
    absmax:
      absmax.kind === 'plain'
        ? { kind: 'plain', values: await floats(absmax.values) }
        : {
            kind: 'nested',
            codes: await bytes(absmax.codes, Math.ceil(count / blockSize)),
            map: await floats(absmax.map),
            nestedAbsmax: await floats(absmax.nestedAbsmax),
            nestedBlockSize: absmax.nestedBlockSize,
            offset: absmax.offset,
          },
  };
}

/** Puts a float weight `[out, in]`, row-major, on the current backend. */
export function uploadDense(values: Float32Array, shape: readonly [out: number, inner: number]): DenseWeight {
  return { kind: 'dense', shape, values: tf.keep(tf.tensor2d(values, [...shape])) };
}

/** Frees the tensors of a weight. */
export function disposeWeight(weight: FrozenWeight): void {
  if (weight.kind === 'dense') weight.values.dispose();
  else tf.dispose(quantizedInputs(weight));
}

/** Bytes that a weight takes on the device. */
export function weightBytes(weight: FrozenWeight): number {
  const tensors = weight.kind === 'dense' ? [weight.values] : Object.values(quantizedInputs(weight));
  return tensors.reduce((sum, tensor) => sum + 4 * tensor.size, 0);
}

/** The tensors of a 4-bit weight under the names by which ops take them. */
export function quantizedInputs(weight: QuantizedWeight): Record<string, tf.Tensor1D> {
  const { packed, code, absmax } = weight;
  if (absmax.kind === 'plain') return { packed, code, absmax: absmax.values };
  return { packed, code, absmaxCodes: absmax.codes, absmaxMap: absmax.map, nestedAbsmax: absmax.nestedAbsmax };
}

export function quantizedAttrs(weight: QuantizedWeight): QuantizedAttrs & tf.NamedAttrMap {
  const { shape, blockSize, dtype, absmax } = weight;
  const nested = absmax.kind === 'nested' ? absmax : { nestedBlockSize: 0, offset: 0 };
  return {
    rows: shape[0],
    cols: shape[1],
    blockSize,
    nestedBlockSize: nested.nestedBlockSize,
    offset: nested.offset,
    dtype,
  };
}

/** The names of `quantizedInputs`, in its order. */
export function weightInputNames(nested: boolean): string[] {
  return ['packed', 'code', ...(nested ? ['absmaxCodes', 'absmaxMap', 'nestedAbsmax'] : ['absmax'])];
}

/** The tensors of a 4-bit weight among an op's inputs. */
export function weightTensors<T>(inputs: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(weightInputNames(inputs['absmax'] === undefined).map((name) => [name, inputs[name] as T]));
}

/** Bytes as little-endian int32 words, the last one padded with zeros. */
function words(bytes: Uint8Array): tf.Tensor1D {
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  padded.set(bytes);
  return tf.tensor1d(new Int32Array(padded.buffer), 'int32');
}
