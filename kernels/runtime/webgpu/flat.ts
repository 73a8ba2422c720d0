import * as tf from '@tensorflow/tfjs-core';
import { kernelMode } from '../op.js';
import { stateOf } from './cache.js';
import { gpuCopy, gpuStretch, gpuView, VIEW_ALIGN } from './views.js';

/** Where tensors lie in one, in elements. */
export interface FlatLayout {
  readonly shapes: readonly (readonly number[])[];
  readonly firsts: readonly number[];
  readonly size: number;
}

/** Tensors of more bytes than this are not put into one: little is gained, and moving them takes memory. */
export const MOST_FLAT_BYTES = 128 * 2 ** 20;

/** A layout of tensors of these shapes that puts them in the given order of their indices. */
export function flatLayout(
  shapes: readonly (readonly number[])[],
  order: readonly number[] = shapes.map((_, i) => i),
): FlatLayout {
  const firsts: number[] = [];
  let size = 0;
  for (const i of order) {
    firsts[i] = size;
    size += Math.ceil(tf.util.sizeFromShape([...(shapes[i] as number[])]) / VIEW_ALIGN) * VIEW_ALIGN;
  }
  return { shapes, firsts, size };
}

/** Whether tensors can be views here: on webgpu, unless they are too large. */
export function canBeFlat({ size }: FlatLayout): boolean {
  return (
    size > 0 &&
    tf.getBackend() === 'webgpu' &&
    kernelMode() === 'auto' &&
    4 * size <= Math.min(MOST_FLAT_BYTES, stateOf(tf.backend()).bindingBytes)
  );
}

/** Gradients, one a parameter: in tensors of their own, or in one. */
export type Gradients = readonly tf.Tensor[] | FlatTensors;

/**
 * Tensors side by side in the memory of one, float32, zeros at first: what is done to all of them is done in one
 * dispatch. Only on webgpu.
 */
export class FlatTensors {
  /** All of them, with zeros in the gaps. */
  readonly flat: tf.Variable<tf.Rank.R1>;
  private readonly stretches: readonly tf.TensorInfo[];
  private readonly spans = new Map<number, tf.Variable>();
  private table: tf.Tensor2D | undefined;

  constructor(readonly layout: FlatLayout) {
    const zeros = tf.zeros<tf.Rank.R1>([layout.size]);
    this.flat = tf.variable(zeros);
    zeros.dispose();
    this.stretches = layout.shapes.map((shape, i) =>
      gpuStretch(tf.backend(), this.flat, layout.firsts[i] as number, shape),
    );
  }

  /** Takes over the values of tensors, all of them or, by their indices, some. */
  take(tensors: readonly tf.Tensor[], indices: readonly number[] = tensors.map((_, i) => i)): void {
    gpuCopy(
      tf.backend(),
      tensors.map((from, k) => ({ from, to: this.stretches[indices[k] as number] as tf.TensorInfo })),
    );
  }

  /** Values in the order of the layout's shapes. */
  assign(values: readonly Float32Array[]): void {
    const all = new Float32Array(this.layout.size);
    values.forEach((one, i) => {
      all.set(one, this.layout.firsts[i]);
    });
    const tensor = tf.tensor1d(all);
    gpuCopy(tf.backend(), [{ from: tensor, to: this.flat }]);
    tensor.dispose();
  }

  /** A tensor that is one of them, the caller's to dispose before this. */
  view(i: number): tf.Tensor {
    return gpuView(
      tf.backend(),
      this.flat,
      this.layout.firsts[i] as number,
      this.layout.shapes[i] as readonly number[],
    );
  }

  /** All of them: see {@link view}. */
  views(): tf.Tensor[] {
    return this.stretches.map((_, i) => this.view(i));
  }

  /** The values of each on the host. */
  async read(): Promise<Float32Array[]> {
    // A view's values are not kept on the host, where the next update would not reach them.
    const all = gpuView(tf.backend(), this.flat, 0, [this.layout.size]);
    try {
      const values = await all.data<'float32'>();
      return this.layout.firsts.map((first, i) =>
        values.slice(first, first + tf.util.sizeFromShape([...(this.layout.shapes[i] as readonly number[])])),
      );
    } finally {
      all.dispose();
    }
  }

  /**
   * `count` of all values from element `first` on, a multiple of VIEW_ALIGN: a variable for updates in place. It is
   * this object's.
   */
  span(first: number, count: number): tf.Variable {
    if (count === this.layout.size) return this.flat;
    let span = this.spans.get(first);
    if (span === undefined) {
      const view = gpuView(tf.backend(), this.flat, first, [count]);
      span = tf.variable(view);
      view.dispose();
      this.spans.set(first, span);
    }
    return span;
  }

  /** `[tensors, 2]`, int32: where each begins, and its elements. */
  places(): tf.Tensor2D {
    const { shapes, firsts } = this.layout;
    this.table ??= tf.keep(
      tf.tensor2d(
        shapes.flatMap((shape, i) => [firsts[i] as number, tf.util.sizeFromShape([...shape])]),
        [shapes.length, 2],
        'int32',
      ),
    );
    return this.table;
  }

  dispose(): void {
    for (const { dataId } of this.stretches) tf.backend().disposeData(dataId, true);
    tf.dispose([...this.spans.values()]);
    this.table?.dispose();
    this.flat.dispose();
  }
}
