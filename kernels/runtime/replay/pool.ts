import { observePool, type GpuBackend, type PoolObserver } from '../../tfjs/webgpu.js';

/** Who works with buffers of the pool without holding the tensors that they belong to. */
export interface Lodger {
  /** Buffers of its own work that somebody else has at the moment. */
  busy: number;
  /** A buffer that it reads and does not own has gone. */
  lost: boolean;
}

const watches = new WeakMap<GpuBackend, PoolWatch>();

/**
 * Knows of every buffer that a pool hands out and takes back. Recordings work in buffers that lie in the pool between
 * steps: they take no memory that a step would not take anyway, and may run when none of these is in use.
 */
export class PoolWatch {
  /** Hears what the pool does while a step is recorded. */
  listener: PoolObserver | undefined;
  private readonly workers = new WeakMap<GPUBuffer, Set<Lodger>>();
  private readonly readers = new WeakMap<GPUBuffer, Set<Lodger>>();
  private readonly owners = new WeakMap<GPUBuffer, { readonly lodger: Lodger; returned: boolean }>();
  private readonly release: (buffer: GPUBuffer) => void;

  private constructor(gpu: GpuBackend) {
    this.release = observePool(gpu, {
      acquired: (buffer, usage) => {
        for (const lodger of this.workers.get(buffer) ?? []) lodger.busy++;
        this.listener?.acquired(buffer, usage);
      },
      withholds: (buffer) => {
        if (this.listener?.withholds(buffer) === true) return true;
        const owner = this.owners.get(buffer);
        if (owner !== undefined) {
          owner.returned = true;
          owner.lodger.busy--;
          return true;
        }
        for (const lodger of this.workers.get(buffer) ?? []) lodger.busy--;
        for (const lodger of this.readers.get(buffer) ?? []) lodger.lost = true;
        return false;
      },
    });
  }

  static of(gpu: GpuBackend): PoolWatch {
    let watch = watches.get(gpu);
    if (watch === undefined) watches.set(gpu, (watch = new PoolWatch(gpu)));
    return watch;
  }

  /** The lodger works in a buffer that is free now. */
  share(lodger: Lodger, buffer: GPUBuffer): void {
    noted(this.workers, buffer).add(lodger);
  }

  /** The lodger reads a buffer of somebody else. */
  read(lodger: Lodger, buffer: GPUBuffer): void {
    noted(this.readers, buffer).add(lodger);
  }

  /** The buffer is the lodger's for good; `returned` tells whether the tensor that it was made for is gone. */
  own(lodger: Lodger, buffer: GPUBuffer, returned: boolean): void {
    this.owners.set(buffer, { lodger, returned });
    if (!returned) lodger.busy++;
  }

  /** The lodger leaves: what it owned goes to the pool, now or when its tensor goes. */
  leave(lodger: Lodger, buffers: Iterable<GPUBuffer>): void {
    for (const buffer of buffers) {
      this.workers.get(buffer)?.delete(lodger);
      this.readers.get(buffer)?.delete(lodger);
      const owner = this.owners.get(buffer);
      if (owner?.lodger !== lodger) continue;
      this.owners.delete(buffer);
      if (owner.returned) this.release(buffer);
    }
  }
}

function noted(notes: WeakMap<GPUBuffer, Set<Lodger>>, buffer: GPUBuffer): Set<Lodger> {
  let known = notes.get(buffer);
  if (known === undefined) notes.set(buffer, (known = new Set()));
  return known;
}
