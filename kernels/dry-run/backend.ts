import * as tf from '@tensorflow/tfjs-core';
import { threadCount } from '../runtime/threads/threads.js';

/** Name of the backend that computes nothing. */
export const DRY_RUN = 'lowrank-dry-run';

interface Entry {
  readonly bytes: number;
  readonly tag: string;
  /** Position among the allocations since `restart`. */
  readonly order: number;
  refCount: number;
}

/** Bytes by tag at the moment when most were there. */
export interface DryPeak {
  readonly bytes: number;
  readonly byTag: ReadonlyMap<string, number>;
}

/**
 * A tfjs backend whose tensors have sizes and no values: a program that runs on it allocates and frees as it would on a
 * real one, so that its memory is known without having any. Every allocation carries a tag.
 */
export class DryRunBackend extends tf.KernelBackend {
  /** What newly made tensors count as. */
  tag = 'other';
  /** Tags of certain allocations since `restart`, by their position; `tag` for all others. */
  tagsByOrder: ReadonlyMap<number, string> = new Map();
  bytes = 0;
  peak: DryPeak = { bytes: 0, byTag: new Map() };
  /** The largest single allocation. */
  largest: { readonly bytes: number; readonly tag: string } = { bytes: 0, tag: 'other' };
  private order = 0;
  private readonly entries = new Map<object, Entry>();
  private readonly byTag = new Map<string, number>();

  /**
   * @param target the backend whose kernels are stood in for
   * @param threads how many its WASM kernels run on: each has scratch memory of its own
   */
  constructor(
    readonly target: string,
    readonly threads = 1,
  ) {
    super();
  }

  /** Begins to count allocations from 0. */
  restart(): void {
    this.order = 0;
  }

  /** Forgets the peak, for one of what follows. */
  resetPeak(): void {
    this.peak = { bytes: this.bytes, byTag: new Map(this.byTag) };
    this.largest = { bytes: 0, tag: 'other' };
  }

  /** Bytes that are there with a tag. */
  bytesOf(tag: string): number {
    return this.byTag.get(tag) ?? 0;
  }

  /** Positions since `restart` of the allocations with a tag that are still there. */
  alive(tag: string): number[] {
    return [...this.entries.values()].filter((entry) => entry.tag === tag).map((entry) => entry.order);
  }

  /** A tensor without values. */
  tensor(shape: readonly number[], dtype: 'float32' | 'int32' = 'float32'): tf.Tensor {
    return tf.engine().makeTensorFromTensorInfo(this.output(shape, dtype));
  }

  output(shape: readonly number[], dtype: tf.DataType = 'float32'): tf.TensorInfo {
    return { dataId: this.write(null, [...shape], dtype), shape: [...shape], dtype };
  }

  /** The same memory under another shape. */
  alias(input: tf.TensorInfo, shape: readonly number[] = input.shape): tf.TensorInfo {
    this.incRef(input.dataId);
    return { dataId: input.dataId, shape: [...shape], dtype: input.dtype };
  }

  /** Room that a kernel uses while it runs. */
  scratch(bytes: number): void {
    if (bytes > 0) this.disposeData(this.write(null, [Math.ceil(bytes / 4)], 'float32'));
  }

  override write(_values: tf.BackendValues | null, shape: number[], dtype: tf.DataType): object {
    const dataId = {};
    this.move(dataId, null, shape, dtype, 1);
    return dataId;
  }

  override move(
    dataId: object,
    _values: tf.BackendValues | null,
    shape: number[],
    dtype: tf.DataType,
    refCount: number,
  ): void {
    const bytes = tf.util.sizeFromShape(shape) * tf.util.bytesPerElement(dtype);
    const order = this.order++;
    const tag = this.tagsByOrder.get(order) ?? this.tag;
    this.entries.set(dataId, { bytes, tag, order, refCount });
    this.bytes += bytes;
    this.byTag.set(tag, (this.byTag.get(tag) ?? 0) + bytes);
    if (this.bytes > this.peak.bytes) this.peak = { bytes: this.bytes, byTag: new Map(this.byTag) };
    if (bytes > this.largest.bytes) this.largest = { bytes, tag };
  }

  override disposeData(dataId: object, force = false): boolean {
    const entry = this.entries.get(dataId);
    if (entry === undefined) return true;
    entry.refCount--;
    if (!force && entry.refCount > 0) return false;
    this.entries.delete(dataId);
    this.bytes -= entry.bytes;
    this.byTag.set(entry.tag, (this.byTag.get(entry.tag) as number) - entry.bytes);
    return true;
  }

  override refCount(dataId: object): number {
    return this.entries.get(dataId)?.refCount ?? 0;
  }

  override incRef(dataId: object): void {
    const entry = this.entries.get(dataId);
    if (entry !== undefined) entry.refCount++;
  }

  override numDataIds(): number {
    return this.entries.size;
  }

  override timerAvailable(): boolean {
    return false;
  }

  override floatPrecision(): 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override read(): Promise<tf.BackendValues> {
    return Promise.reject(new Error('a dry run has no values to read'));
  }

  override readSync(): tf.BackendValues {
    throw new Error('a dry run has no values to read');
  }

  override dispose(): void {
    this.entries.clear();
  }
}

/** The backend that computes, or that a dry run stands in for. */
export function targetBackend(): string {
  if (tf.getBackend() !== DRY_RUN) return tf.getBackend();
  return (tf.backend() as DryRunBackend).target;
}

/**
 * Runs `body` with a dry run of `target` as tfjs's backend and puts the earlier backend back. `body` must dispose what
 * it makes; it is not asynchronous, so that nothing else can happen meanwhile.
 * @param threads of the target; those of the backend that is on where it is the target
 * @throws Error naming the kernel when `body` needs one whose sizes are not known.
 */
export function withDryRun<T>(target: string, body: (backend: DryRunBackend) => T, threads?: number): T {
  const before = tf.getBackend() as string | null | undefined;
  const backend = new DryRunBackend(target, threads ?? (before === target ? threadCount(tf.backend()) : 1));
  tf.registerBackend(DRY_RUN, () => backend);
  // The switch to a backend that needs no initialisation happens before the promise is handed out.
  void tf.setBackend(DRY_RUN);
  try {
    return body(backend);
  } finally {
    if (before !== null && before !== undefined) void tf.setBackend(before);
    tf.removeBackend(DRY_RUN);
  }
}
