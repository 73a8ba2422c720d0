import { replaceFreeBuffers, type GpuBackend } from '../../tfjs/webgpu.js';

const ids = new WeakMap<GPUBuffer, number>();
let buffers = 0;

/** A number that stands for a buffer. */
export function bufferId(buffer: GPUBuffer): number {
  let id = ids.get(buffer);
  if (id === undefined) ids.set(buffer, (id = buffers++));
  return id;
}

/**
 * Makes a pool hand out the oldest free buffer of a size, where tfjs's takes the one that was freed last. Which buffers
 * a step of training gets then depends on what is free when it begins and no longer on the steps before: it gets the
 * same ones every time, and what was made for them, bind groups above all, serves again.
 */
export function takeBuffersInOrder(gpu: GpuBackend): void {
  replaceFreeBuffers(gpu, (pools) => {
    if (pools instanceof OrderedPools) return pools;
    const ordered = new OrderedPools();
    for (const [key, free] of pools) {
      ordered.set(key, []);
      for (const buffer of free) ordered.get(key)?.push(buffer);
    }
    return ordered;
  });
}

class OrderedPools extends Map<string, GPUBuffer[]> {
  /** tfjs sets an empty array for every size and then only pushes to it and pops from it. */
  override set(key: string, _empty: GPUBuffer[]): this {
    return super.set(key, new OrderedBuffers());
  }
}

/** Descending ids: `pop` takes the lowest. */
class OrderedBuffers extends Array<GPUBuffer> {
  override push(buffer: GPUBuffer): number {
    const id = bufferId(buffer);
    let [low, high] = [0, this.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (bufferId(this[middle] as GPUBuffer) > id) low = middle + 1;
      else high = middle;
    }
    this.length++;
    this.copyWithin(low + 1, low, this.length - 1);
    this[low] = buffer;
    return this.length;
  }
}
