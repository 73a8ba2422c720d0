import { wasmHeap } from '../../tfjs/wasm.js';
import { HeldMemory, heldMemory } from './held-memory.js';
import { inOrder } from './stock-order.js';
import { ThreadPool, type Preparation, type SpawnThread } from './pool.js';
import { isSharedMemory, wasmExports, withWasmScratch, type WasmSource } from '../wasm/module.js';

/** A job's parts are at least this long: handing one over costs some microseconds. */
const SHORTEST_PART_NS = 30_000;
/**
 * More parts than threads and none of them long, since a thread which is late or slow holds up the others by up to one
 * of them.
 */
const PARTS_PER_THREAD = 3;
const LONGEST_PART_NS = 2_000_000;
const MOST_PARTS = 255;

export interface ParallelOptions {
  /** Items: rows, columns, heads, elements. */
  readonly count: number;
  /** Estimated nanoseconds an item. */
  readonly cost: number;
  /** Parts begin at multiples of this. Default 1. */
  readonly align?: number;
  /**
   * Items below which parts get costly, because of what each does anew. They go below it to give every thread one.
   * Default 1.
   */
  readonly fewest?: number;
  /** Bytes of scratch that each thread needs. */
  readonly scratchBytes?: number;
  readonly prepare?: Preparation;
}

const pools = new WeakMap<object, ThreadPool>();

/**
 * Calls `name(...args, begin, end, scratch)` of a kernel module over the items [0, count), on all threads of the
 * backend, after what was called before. With threads it returns at once: see `finishJobs`. The ranges depend on the
 * number of threads, so what an item yields must not depend on the range that it is in.
 */
export function parallelFor(
  backend: unknown,
  source: WasmSource,
  name: string,
  args: readonly number[],
  options: ParallelOptions,
): void {
  const { count, align = 1, scratchBytes = 0, prepare } = options;
  if (count === 0) return;
  const pool = pools.get(poolKey(backend));
  const grain = pool === undefined ? count : Math.ceil(count / partCount(pool.threads, options) / align) * align;
  const stride = (scratchBytes + 127) & ~127;
  const run = (scratch: number): void => {
    // What is too short to be shared waits its turn all the same.
    if (pool !== undefined && (grain < count || pool.busy)) {
      pool.post(source, name, args, { count, grain: Math.min(grain, count), scratch, scratchStride: stride, prepare });
      return;
    }
    const exports = wasmExports<Record<string, (...args: number[]) => void>>(backend, source);
    if (prepare !== undefined) exportNamed(exports, prepare.name)(...prepare.args, scratch);
    exportNamed(exports, name)(...args, 0, count, scratch);
  };
  if (scratchBytes === 0) run(0);
  else withWasmScratch(backend, stride * (pool?.threads ?? 1), run);
}

/**
 * Waits until all that `parallelFor` was called for is done, and takes part in it. Before JavaScript or tfjs reads the
 * heap, or writes to what jobs have read: tfjs's own kernels and its reading of tensors do so by themselves.
 *
 * @throws Error when a kernel has failed on any thread
 */
export function finishJobs(backend: unknown): void {
  const pool = pools.get(poolKey(backend));
  if (pool === undefined) return;
  pool.finish();
  heldMemory(poolKey(backend))?.release();
}

function partCount(threads: number, { count, cost, fewest = 1 }: ParallelOptions): number {
  const total = count * cost;
  const wanted = Math.min(count / fewest, Math.max(threads * PARTS_PER_THREAD, total / LONGEST_PART_NS));
  const parts = Math.max(1, Math.floor(Math.min(Math.max(threads, wanted), total / SHORTEST_PART_NS, MOST_PARTS)));
  // Three parts on two threads take two turns, as four shorter ones do.
  return parts > threads ? parts - (parts % threads) : parts;
}

function exportNamed(exports: Record<string, (...args: number[]) => void>, name: string): (...args: number[]) => void {
  const found = exports[name];
  if (found === undefined) throw new Error(`the kernel module has no '${name}'`);
  return found;
}

/** Threads that kernels on this backend run on, the calling one included. */
export function threadCount(backend: unknown): number {
  return pools.get(poolKey(backend))?.threads ?? 1;
}

/**
 * Gives a backend whose heap is shared memory `threads − 1` further threads.
 *
 * @returns what ends them; kernels then run on the calling thread alone
 * @throws Error when the heap is not shared
 */
export function startThreads(backend: unknown, threads: number, spawn: SpawnThread): () => Promise<void> {
  if (!isSharedMemory(backend)) throw new Error("the backend's heap is not shared memory");
  const key = poolKey(backend);
  if (pools.has(key)) throw new Error('the backend has its threads already');
  const pool = new ThreadPool(backend, threads, spawn);
  const memory = new HeldMemory(poolKey(backend), pool);
  const stockOrder = inOrder(backend, finishJobs);
  pools.set(key, pool);
  return async () => {
    if (pools.get(key) !== pool) return;
    try {
      pool.finish();
    } finally {
      pools.delete(key);
      memory.close();
      stockOrder.close();
      await pool.close();
    }
  };
}

/** Runs `body` with the kernels of this backend on the calling thread alone. */
export function withoutThreads<T>(backend: unknown, body: () => T): T {
  const key = poolKey(backend);
  const pool = pools.get(key);
  finishJobs(backend);
  pools.delete(key);
  try {
    return body();
  } finally {
    if (pool !== undefined) pools.set(key, pool);
  }
}

function poolKey(backend: unknown): object {
  return wasmHeap(backend);
}
