import * as tf from '@tensorflow/tfjs-core';
import type { KernelFunction } from '../runtime/op.js';
import { bytesFromBase64 } from '../runtime/wasm/module.js';
import { weightArgs, type SetWeight } from './wasm-weight.js';
import { wasmSource } from './wasm.generated.js';
import { weightTensors, type QuantizedAttrs } from './weight.js';

/**
 * What this file uses of TensorFlow's backend: values that no op of TensorFlow's has taken are handed out without a
 * copy.
 */
interface ValueStore {
  readSync(dataId: object): tf.TypedArray;
}

interface Decoder extends SetWeight {
  readonly memory: WebAssembly.Memory;
  dequantize(y: number, begin: number, end: number, table: number): void;
}

type WeightInputs = Record<string, tf.TensorInfo>;

const PAGE_BYTES = 65536;
/** What TensorFlow asks of memory that it is to work on in place. */
const ALIGNMENT = 64;

let decoder: Decoder | undefined;

/**
 * Decodes a 4-bit weight into scratch memory that TensorFlow reads in place, and runs `body` on it. The packed values
 * stay on the host: no float copy outlives `body`, which must have computed with w, not merely kept it, before it
 * returns.
 *
 * @param inputs those of LowrankDequantize, among others
 */
export function withDecodedWeight<T extends tf.TensorContainer>(
  backend: unknown,
  inputs: WeightInputs,
  attrs: QuantizedAttrs,
  body: (w: tf.Tensor2D) => T,
): T {
  const values = decode(backend, inputs, attrs);
  return tf.tidy(() => body(tf.tensor2d(values, [attrs.rows, attrs.cols])));
}

/** LowrankDequantize on TensorFlow. */
export const dequantizeTensorflow: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const quantized = attrs as unknown as QuantizedAttrs;
  const values = decode(backend, inputs as WeightInputs, quantized).slice();
  return tf.tensor2d(values, [quantized.rows, quantized.cols]);
};

/** The weight's values in scratch memory, until the next call. */
function decode(backend: unknown, inputs: WeightInputs, attrs: QuantizedAttrs): Float32Array {
  const count = attrs.rows * attrs.cols;
  const tensors = weightTensors(inputs);
  const parts = Object.values(tensors).map(({ dataId }) => ({
    dataId,
    values: (backend as ValueStore).readSync(dataId),
  }));
  const addresses = new Map<object, number>();
  // In front, 64 bytes of the decoder's own.
  let end = ALIGNMENT;
  for (const { dataId, values } of parts) {
    addresses.set(dataId, end);
    end = Math.ceil((end + values.byteLength) / ALIGNMENT) * ALIGNMENT;
  }
  const wasm = decoderOver(end + 4 * count);
  const bytes = new Uint8Array(wasm.memory.buffer);
  for (const { dataId, values } of parts) {
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), addresses.get(dataId));
  }
  // The scratch memory in the place of tfjs's heap.
  wasm.setWeight(
    ...(weightArgs(({ dataId }) => addresses.get(dataId) as number, tensors, attrs) as Parameters<
      SetWeight['setWeight']
    >),
  );
  wasm.dequantize(end, 0, count, 0);
  return new Float32Array(wasm.memory.buffer, end, count);
}

/**
 * The decoder with at least so many bytes. Memory that grows leaves the arrays over it, TensorFlow's among them: a
 * larger one is made instead.
 */
function decoderOver(bytes: number): Decoder {
  if (decoder === undefined || decoder.memory.buffer.byteLength < bytes) {
    const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / PAGE_BYTES) });
    const module = new WebAssembly.Module(bytesFromBase64(wasmSource.base64) as BufferSource);
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    decoder = { ...(exports as unknown as Omit<Decoder, 'memory'>), memory };
  }
  return decoder;
}
