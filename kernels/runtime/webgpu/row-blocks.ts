import type { TensorInfo } from '@tensorflow/tfjs-core';
import {
  forgetHostValues,
  gpuBackend,
  hostValues,
  replaceGpuMethod,
  writeValues,
  type GpuBackend,
} from '../../tfjs/webgpu.js';
import { stateOf } from './cache.js';

/** A matrix whose values are spread over several tensors, a stretch of rows each. */
export interface RowPart<T> {
  readonly part: T;
  readonly first: number;
  readonly rows: number;
}

/** Parts begin at multiples of this: as a byte offset of float32 values it is one that every device can bind at. */
export const ROWS_ALIGN = 64;

let limit: number | undefined;

/** Bytes that one binding may have from now on, for tests; undefined for what the device can do. */
export function limitBindings(bytes: number | undefined): void {
  limit = bytes;
}

/** Bytes that one storage buffer may have. */
export function bindingBytes(backend: unknown): number {
  return limit ?? stateOf(backend).bindingBytes;
}

/**
 * Where the stretches of a matrix begin that go into one binding each; undefined where it fits into one as it is.
 *
 * @param rowBytes bytes of a row
 * @param align stretches begin at multiples of this, itself a multiple of ROWS_ALIGN
 */
export function rowStretches(
  backend: unknown,
  rows: number,
  rowBytes: number,
  align = ROWS_ALIGN,
): { first: number; rows: number }[] | undefined {
  const most = bindingBytes(backend);
  if (rows * rowBytes <= most) return undefined;
  const each = Math.floor(most / rowBytes / align) * align;
  if (each === 0)
    throw new Error(
      `${align} rows of ${rowBytes} bytes do not fit into a buffer of ${most}, the most that this device can bind`,
    );
  return Array.from({ length: Math.ceil(rows / each) }, (_, i) => ({
    first: i * each,
    rows: Math.min(each, rows - i * each),
  }));
}

/** By data of the whole: its parts, in order. */
const splits = new WeakMap<object, readonly TensorInfo[]>();

/**
 * The values of a tensor in several tensors of one dimension, which begin at `firsts`. They are made once, out of
 * values that are still on the host, and go when the tensor goes; it stays readable, and nothing but kernels that know
 * of parts can compute with it.
 *
 * @throws Error when its values are on the GPU already
 */
export function splitTensor(backend: unknown, tensor: TensorInfo, firsts: readonly number[]): readonly TensorInfo[] {
  const known = splits.get(tensor.dataId);
  if (known !== undefined) return known;
  const gpu = gpuBackend(backend);
  const values = hostValues(gpu, tensor.dataId);
  if (values === undefined || values === null)
    throw new Error(
      `a tensor of shape [${tensor.shape.join(', ')}] is larger than what this device can bind, and not a frozen weight`,
    );
  attend(gpu);
  const parts = firsts.map((first, i) => {
    const part = values.subarray(first, firsts[i + 1]);
    return writeValues(gpu, part, [part.length], tensor.dtype);
  });
  // The parts let go of the host's memory as they are put on the GPU.
  forgetHostValues(gpu, tensor.dataId);
  splits.set(tensor.dataId, parts);
  return parts;
}

/** Teaches a backend to read and to dispose of tensors in parts, and to refuse what would give them a buffer. */
function attend(gpu: GpuBackend): void {
  const state = stateOf(gpu);
  if (state.knowsParts === true) return;
  state.knowsParts = true;
  replaceGpuMethod(gpu, 'upload', (upload) => (dataId) => {
    if (splits.has(dataId))
      throw new Error('a weight is larger than what this device can bind, and this operation cannot use it in parts');
    upload(dataId);
  });
  replaceGpuMethod(gpu, 'read', (read) => async (dataId) => {
    const parts = splits.get(dataId);
    if (parts === undefined) return read(dataId);
    const values: (Float32Array | Int32Array)[] = [];
    for (const part of parts) values.push(await read(part.dataId));
    const count = values.reduce((sum, part) => sum + part.length, 0);
    const all = values[0] instanceof Int32Array ? new Int32Array(count) : new Float32Array(count);
    let at = 0;
    for (const part of values) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  });
  replaceGpuMethod(gpu, 'dispose', (dispose) => (dataId, force) => {
    const gone = dispose(dataId, force);
    if (gone) for (const part of splits.get(dataId) ?? []) dispose(part.dataId, true);
    if (gone) splits.delete(dataId);
    return gone;
  });
}
