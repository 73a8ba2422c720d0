import * as tf from '@tensorflow/tfjs-core';
import {
  addExternalData,
  bufferOf,
  copyEncoder,
  disposeValues,
  forgetHostValues,
  gpuBackend,
  makeGpuOutput,
  markInUse,
  replaceGpuMethod,
  uploadValues,
  type GpuBackend,
} from '../../tfjs/webgpu.js';

/** Where a view lies in its buffer, in bytes. */
export interface Place {
  readonly offset: number;
  readonly size: number;
}

/** Views begin at multiples of this: as bytes of float32 values an offset that every device can bind at. */
export const VIEW_ALIGN = 64;

const places = new WeakMap<object, Place>();
const attended = new WeakSet<GpuBackend>();

/** Where a tensor's values lie, if they are a stretch of another tensor's buffer. */
export function placeOf(dataId: object): Place | undefined {
  return places.get(dataId);
}

/**
 * A tensor whose values are those of `whole` from element `first` on: what is written to one is written to the other.
 * For all ops it is a tensor like others. The whole must outlive it.
 *
 * @param first a multiple of VIEW_ALIGN
 */
export function gpuView(backend: unknown, whole: tf.TensorInfo, first: number, shape: readonly number[]): tf.Tensor {
  return tf.engine().makeTensorFromTensorInfo(gpuStretch(backend, whole, first, shape));
}

/** The same that tfjs's engine does not know of, nor count: `disposeData` of the backend lets go of it. */
export function gpuStretch(
  backend: unknown,
  whole: tf.TensorInfo,
  first: number,
  shape: readonly number[],
): tf.TensorInfo {
  const gpu = gpuBackend(backend);
  tf.util.assert(first % VIEW_ALIGN === 0, () => `a view cannot begin at element ${first}`);
  attend(gpu);
  uploadValues(gpu, whole.dataId);
  // What tfjs takes for foreign it does not give to its pool.
  const dataId = addExternalData(gpu, shape, bufferOf(gpu, whole.dataId));
  places.set(dataId, { offset: 4 * first, size: 4 * tf.util.sizeFromShape([...shape]) });
  return { dataId, shape: [...shape], dtype: 'float32' };
}

/** Teaches a backend to bind and to read views. Their values are never kept on the host: others write to them. */
function attend(gpu: GpuBackend): void {
  if (attended.has(gpu)) return;
  attended.add(gpu);
  replaceGpuMethod(gpu, 'binding', (toBinding) => (tensor) => {
    const place = tensor === undefined ? undefined : places.get(tensor.dataId);
    if (tensor === undefined || place === undefined) return toBinding(tensor);
    return { buffer: bufferOf(gpu, tensor.dataId), offset: place.offset, size: place.size };
  });
  replaceGpuMethod(gpu, 'read', (read) => async (dataId) => {
    const place = places.get(dataId);
    if (place === undefined) return read(dataId);
    const copy = makeGpuOutput(gpu, [place.size / 4], 'float32');
    try {
      gpuCopy(gpu, [{ from: { ...copy, dataId }, to: copy }]);
      return await read(copy.dataId);
    } finally {
      disposeValues(gpu, copy.dataId);
    }
  });
}

/** Copies values between tensors of one size, without a dispatch: on either side there may be a view. */
export function gpuCopy(
  backend: unknown,
  pairs: readonly { readonly from: tf.TensorInfo; readonly to: tf.TensorInfo }[],
): void {
  const gpu = gpuBackend(backend);
  // Uploads may end what is being recorded: they come first.
  for (const { from, to } of pairs) for (const { dataId } of [from, to]) uploadValues(gpu, dataId);
  const encoder = copyEncoder(gpu);
  for (const { from, to } of pairs) {
    const [source, target] = [from, to].map(({ dataId }) => {
      markInUse(gpu, dataId);
      return { buffer: bufferOf(gpu, dataId) as GPUBuffer, offset: places.get(dataId)?.offset ?? 0 };
    }) as [Side, Side];
    forgetHostValues(gpu, to.dataId);
    encoder.copyBufferToBuffer(
      source.buffer,
      source.offset,
      target.buffer,
      target.offset,
      4 * tf.util.sizeFromShape(from.shape),
    );
  }
}

interface Side {
  readonly buffer: GPUBuffer;
  readonly offset: number;
}
