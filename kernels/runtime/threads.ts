import { isSharedMemory, wasmBinary, wasmExports, wasmMemory, withWasmScratch, type WasmSource } from './wasm.js';
import { JOB, LAYOUT, makeDrain, serve, type ThreadData } from './worker.js';

/** A thread as the surroundings start it. */
export interface WorkerThread {
  terminate(): Promise<void>;
}

/**
 * Starts a thread that evaluates `script`, an expression that gives a function, and calls it with `data`. Such a thread must not
 * keep the process alive.
 */
export type SpawnThread = (script: string, data: ThreadData) => WorkerThread;

/** A job's parts are at least this long: handing one over costs some microseconds. */
const SHORTEST_PART_NS = 30_000;
/** More parts than threads and none of them long, since a thread which is late or slow holds up the others by up to one of them. */
const PARTS_PER_THREAD = 3;
const LONGEST_PART_NS = 2_000_000;
const MOST_PARTS = 255;
/**
 * How long a thread without work watches for more before it sleeps. Longer than the gaps between the kernels of a step: being woken takes
 * tens of microseconds, and a scheduler that has seen threads sleep may wake all of them on one core.
 */
const SPIN_MS = 1;

export interface ParallelOptions {
  /** Items: rows, columns, heads, elements. */
  readonly count: number;
  /** Estimated nanoseconds an item. */
  readonly cost: number;
  /** Parts begin at multiples of this. Default 1. */
  readonly align?: number;
  /** Items below which parts get costly, because of what each does anew. They go below it to give every thread one. Default 1. */
  readonly fewest?: number;
  /** Bytes of scratch that each thread needs. */
  readonly scratchBytes?: number;
  /** An export that is called before each part with these arguments, then the scratch: it sets variables of the module. */
  readonly prepare?: { readonly name: string; readonly args: readonly number[] };
}

const pools = new WeakMap<object, ThreadPool>();

/**
 * Calls `name(...args, begin, end, scratch)` of a kernel module over the items [0, count), on all threads of the backend, and
 * returns when all are done. The ranges depend on the number of threads, so what an item yields must not depend on the range that
 * it is in.
 *
 * @throws Error when the kernel fails on any thread
 */
export function parallelFor(backend: unknown, source: WasmSource, name: string, args: readonly number[], options: ParallelOptions): void {
  const { count, align = 1, scratchBytes = 0, prepare } = options;
  if (count === 0) return;
  const pool = pools.get(poolKey(backend));
  const grain = pool === undefined ? count : Math.ceil(count / partCount(pool.threads, options) / align) * align;
  const stride = (scratchBytes + 127) & ~127;
  const run = (scratch: number): void => {
    if (pool !== undefined && grain < count) {
      pool.run(source, name, args, { count, grain, scratch, scratchStride: stride, prepare });
      return;
    }
    const exports = wasmExports<Record<string, (...args: number[]) => void>>(backend, source);
    if (prepare !== undefined) exportNamed(exports, prepare.name)(...prepare.args, scratch);
    exportNamed(exports, name)(...args, 0, count, scratch);
  };
  if (scratchBytes === 0) run(0);
  else withWasmScratch(backend, stride * (grain < count ? (pool?.threads ?? 1) : 1), run);
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
  pools.set(key, pool);
  return async () => {
    pools.delete(key);
    await pool.close();
  };
}

/** Runs `body` with the kernels of this backend on the calling thread alone. */
export function withoutThreads<T>(backend: unknown, body: () => T): T {
  const key = poolKey(backend);
  const pool = pools.get(key);
  pools.delete(key);
  try {
    return body();
  } finally {
    if (pool !== undefined) pools.set(key, pool);
  }
}

function poolKey(backend: unknown): object {
  return (backend as { wasm: object }).wasm;
}

interface Range {
  readonly count: number;
  readonly grain: number;
  readonly scratch: number;
  readonly scratchStride: number;
  readonly prepare: ParallelOptions['prepare'];
}

/** The threads of one backend and the control block through which they get their work; see `makeDrain` for the protocol. */
class ThreadPool {
  private readonly control = new SharedArrayBuffer(LAYOUT.bytes);
  private readonly ints = new Int32Array(this.control);
  private readonly floats = new Float64Array(this.control);
  private readonly workers: WorkerThread[] = [];
  private readonly drain: () => void;
  private readonly modules = new Map<string, { readonly index: number; readonly names: readonly string[] }>();
  private nextByte: number = LAYOUT.moduleBytes;
  private sequence = 0;
  private mayWait = true;

  constructor(
    private readonly backend: unknown,
    readonly threads: number,
    spawn: SpawnThread,
  ) {
    const data = { control: this.control, memory: wasmMemory(backend), layout: LAYOUT, job: JOB };
    this.drain = makeDrain({ ...data, thread: 0 });
    const script = `(data) => (${serve.toString()})(data, ${makeDrain.toString()}, ${SPIN_MS})`;
    try {
      for (let thread = 1; thread < threads; thread++) this.workers.push(spawn(script, { ...data, thread }));
    } catch (error) {
      void this.close();
      throw error;
    }
  }

  run(source: WasmSource, name: string, args: readonly number[], range: Range): void {
    const { index, names } = this.module(source);
    const { prepare } = range;
    const job = this.floats.subarray(LAYOUT.job);
    const parts = Math.ceil(range.count / range.grain);
    job[JOB.module] = index;
    job[JOB.run] = indexOf(names, name);
    job[JOB.prepare] = prepare === undefined ? -1 : indexOf(names, prepare.name);
    job[JOB.parts] = parts;
    job[JOB.count] = range.count;
    job[JOB.grain] = range.grain;
    job[JOB.scratch] = range.scratch;
    job[JOB.scratchStride] = range.scratchStride;
    job[JOB.argCount] = args.length;
    job[JOB.prepareArgCount] = prepare?.args.length ?? 0;
    this.floats.set(args, LAYOUT.args);
    if (prepare !== undefined) this.floats.set(prepare.args, LAYOUT.prepareArgs);
    Atomics.store(this.ints, LAYOUT.done, 0);
    this.sequence = (this.sequence + 1) & 0xffffff;
    Atomics.store(this.ints, LAYOUT.word, (this.sequence << 8) | parts);
    if (Atomics.load(this.ints, LAYOUT.sleeping) > 0) Atomics.notify(this.ints, LAYOUT.word, parts - 1);
    this.drain();
    this.await(parts);
    if (Atomics.exchange(this.ints, LAYOUT.failed, 0) !== 0) throw new Error(`the kernel '${source.name}/${name}' failed`);
  }

  async close(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }

  private await(parts: number): void {
    const until = performance.now() + SPIN_MS;
    for (;;) {
      const done = Atomics.load(this.ints, LAYOUT.done);
      if (done === parts) return;
      if (!this.mayWait || performance.now() < until) continue;
      Atomics.store(this.ints, LAYOUT.waiting, 1);
      try {
        Atomics.wait(this.ints, LAYOUT.done, done, 100);
      } catch {
        // The main thread of a page may not wait.
        this.mayWait = false;
      }
      Atomics.store(this.ints, LAYOUT.waiting, 0);
    }
  }

  /** Puts a module where every thread finds it. */
  private module(source: WasmSource): { readonly index: number; readonly names: readonly string[] } {
    let known = this.modules.get(source.name);
    if (known === undefined) {
      const bytes = wasmBinary(this.backend, source);
      const index = this.modules.size;
      if (this.nextByte + bytes.length > LAYOUT.bytes) throw new Error('the kernel modules do not fit into the control block');
      new Uint8Array(this.control).set(bytes, this.nextByte);
      this.ints[LAYOUT.modules + 2 * index] = this.nextByte;
      this.ints[LAYOUT.modules + 2 * index + 1] = bytes.length;
      this.nextByte += (bytes.length + 7) & ~7;
      known = { index, names: Object.keys(wasmExports<object>(this.backend, source)) };
      this.modules.set(source.name, known);
    }
    return known;
  }
}

function indexOf(names: readonly string[], name: string): number {
  const index = names.indexOf(name);
  if (index < 0) throw new Error(`the kernel module has no '${name}'`);
  return index;
}
