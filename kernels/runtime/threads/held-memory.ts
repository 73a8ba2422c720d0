import { replaceAllocator, type Allocator } from '../../tfjs/wasm.js';

/** Bytes that are held back before memory of this many more is asked for: then jobs are waited for first. */
const MOST_HELD = 8 * 2 ** 20;
const LARGE = 2 ** 16;

interface Jobs {
  readonly busy: boolean;
  /** Waits until all are finished. */
  finish(): void;
}

const held = new WeakMap<object, HeldMemory>();

/** What holds memory back on this heap; undefined where every job is finished before JavaScript goes on. */
export function heldMemory(heap: object): HeldMemory | undefined {
  return held.get(heap);
}

/**
 * Memory that JavaScript has given back while jobs were waiting that may use it. The allocator must not have it before
 * they are finished: it writes into what is free, and JavaScript may write into what it gets. But later jobs may write
 * there, since jobs run in order: what they write to is taken from here where there is a piece of the same size, so
 * that as good as nothing is allocated twice.
 */
export class HeldMemory {
  private own!: Allocator;
  private readonly restore: () => void;
  private readonly sizes = new Map<number, number>();
  private readonly pieces = new Map<number, number[]>();
  private bytes = 0;

  /** Puts itself between tfjs and its allocator. */
  constructor(
    private readonly heap: object,
    private readonly jobs: Jobs,
  ) {
    this.restore = replaceAllocator(heap, (own) => {
      this.own = own;
      return { allocate: (bytes) => this.allocate(bytes), free: (address) => this.giveBack(address) };
    });
    held.set(heap, this);
  }

  /**
   * Memory that jobs alone write to: the address of a piece that was held back, or undefined where none has this size.
   */
  take(bytes: number): number | undefined {
    const address = this.pieces.get(bytes)?.pop();
    if (address !== undefined) this.bytes -= bytes;
    return address;
  }

  /** Gives all that is held to the allocator; for when no job is waiting. */
  release(): void {
    for (const addresses of this.pieces.values()) for (const address of addresses) this.free(address);
    this.pieces.clear();
    this.bytes = 0;
  }

  /** Leaves tfjs with its allocator. */
  close(): void {
    this.release();
    this.restore();
    held.delete(this.heap);
  }

  private allocate(bytes: number): number {
    if (bytes > LARGE && this.bytes > MOST_HELD) this.settle();
    let address = 0;
    try {
      address = this.own.allocate(bytes);
      if (address === 0 && bytes > 0) throw new Error(`the heap is full: ${bytes} more bytes do not fit`);
    } catch (error) {
      // What is held may be what is missing.
      if (![...this.pieces.values()].some((addresses) => addresses.length > 0)) throw error;
      this.settle();
      address = this.own.allocate(bytes);
    }
    this.sizes.set(address >>> 0, bytes);
    return address;
  }

  private settle(): void {
    this.jobs.finish();
    this.release();
  }

  private giveBack(address: number): void {
    if (!this.jobs.busy) {
      this.free(address);
      return;
    }
    // Of no size: from before this was there.
    const bytes = this.sizes.get(address >>> 0) ?? 0;
    let addresses = this.pieces.get(bytes);
    if (addresses === undefined) this.pieces.set(bytes, (addresses = []));
    addresses.push(address >>> 0);
    this.bytes += bytes;
  }

  private free(address: number): void {
    this.sizes.delete(address >>> 0);
    this.own.free(address);
  }
}
