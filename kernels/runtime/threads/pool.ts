import { wasmBinary, wasmExports, wasmMemory, type WasmSource } from '../wasm/module.js';
import { JOB, LAYOUT, makeThread, NUMBERS, serve, type JobThread, type ThreadData } from './worker.js';

/** A thread as the surroundings start it. */
export interface WorkerThread {
  terminate(): Promise<void>;
}

/**
 * Starts a thread that evaluates `script`, an expression that gives a function, and calls it with `data`. Such a thread
 * must not keep the process alive.
 */
export type SpawnThread = (script: string, data: ThreadData) => WorkerThread;

/**
 * An export that is called before each part with these arguments, then the scratch: it sets variables of the module.
 */
export interface Preparation {
  readonly name: string;
  readonly args: readonly number[];
}

/** The items of a job and the scratch of its threads. */
export interface JobRange {
  readonly count: number;
  /** Items of a part. */
  readonly grain: number;
  readonly scratch: number;
  readonly scratchStride: number;
  readonly prepare: Preparation | undefined;
}

/**
 * How long a thread without work watches for more before it sleeps. Longer than the gaps between the kernels of a step:
 * being woken takes tens of microseconds, and a scheduler that has seen threads sleep may wake all of them on one core.
 */
const SPIN_MS = 1;

const MOST_ARGS = LAYOUT.prepareArgs - LAYOUT.args;

/**
 * Where the places of jobs are full, as many of them are waited for: the JavaScript that fills them runs best
 * undisturbed.
 */
const ROOM = LAYOUT.places >> 1;

/**
 * The threads of one backend and the control block through which they get their work; see `makeThread` for the
 * protocol. Whoever posts a job goes on at once: what JavaScript does between kernels then costs only one thread, and
 * less time, since nothing else uses the caches of that one.
 */
export class ThreadPool {
  private readonly control = new SharedArrayBuffer(LAYOUT.bytes);
  private readonly ints = new Int32Array(this.control);
  private readonly floats = new Float64Array(this.control);
  private readonly workers: WorkerThread[] = [];
  private readonly own: JobThread;
  private readonly modules = new Map<string, { readonly index: number; readonly names: readonly string[] }>();
  private readonly labels: string[] = [];
  private nextByte: number = LAYOUT.moduleBytes;
  private posted = 0;
  private mayWait = true;

  constructor(
    private readonly backend: unknown,
    readonly threads: number,
    spawn: SpawnThread,
  ) {
    const data = { control: this.control, memory: wasmMemory(backend), layout: LAYOUT, job: JOB };
    this.own = makeThread({ ...data, thread: 0 });
    const script = `(data) => (${serve.toString()})(data, ${makeThread.toString()}, ${SPIN_MS})`;
    try {
      for (let thread = 1; thread < threads; thread++) this.workers.push(spawn(script, { ...data, thread }));
    } catch (error) {
      void this.close();
      throw error;
    }
  }

  /** Whether jobs are not finished. */
  get busy(): boolean {
    return Atomics.load(this.ints, LAYOUT.completed) !== this.posted;
  }

  /** Calls `name(...args, begin, end, scratch)` for all parts of the range, after the jobs that were posted before. */
  post(source: WasmSource, name: string, args: readonly number[], range: JobRange): void {
    const { index, names } = this.module(source);
    const { prepare } = range;
    const [run, prepareRun] = [indexOf(names, name), prepare === undefined ? -1 : indexOf(names, prepare.name)];
    if (args.length > MOST_ARGS || (prepare?.args.length ?? 0) > MOST_ARGS)
      throw new Error(`'${source.name}/${name}' has more than ${MOST_ARGS} arguments`);
    // Told before the name of the job that failed is overwritten.
    if (Atomics.load(this.ints, LAYOUT.failed) !== 0) this.finish();
    if (this.waitingJobs() >= LAYOUT.places - 1) while (this.waitingJobs() > ROOM) this.help();
    const number = (this.posted + 1) % NUMBERS;
    const place = number % LAYOUT.places;
    const base = LAYOUT.jobs + place * LAYOUT.jobSlots;
    const job = this.floats;
    job[base + JOB.module] = index;
    job[base + JOB.run] = run;
    job[base + JOB.prepare] = prepareRun;
    job[base + JOB.parts] = Math.ceil(range.count / range.grain);
    job[base + JOB.count] = range.count;
    job[base + JOB.grain] = range.grain;
    job[base + JOB.scratch] = range.scratch;
    job[base + JOB.scratchStride] = range.scratchStride;
    job[base + JOB.argCount] = args.length;
    job[base + JOB.prepareArgCount] = prepare?.args.length ?? 0;
    job.set(args, base + LAYOUT.args);
    if (prepare !== undefined) job.set(prepare.args, base + LAYOUT.prepareArgs);
    this.labels[place] = `${source.name}/${name}`;
    Atomics.store(this.ints, LAYOUT.done + place, 0);
    this.posted = number;
    Atomics.store(this.ints, LAYOUT.posted, number);
    this.own.advance();
  }

  /**
   * Takes part until all jobs are finished.
   * @throws Error when a kernel has failed on any thread
   */
  finish(): void {
    while (this.busy) this.help();
    const failed = Atomics.exchange(this.ints, LAYOUT.failed, 0);
    if (failed !== 0) throw new Error(`the kernel '${this.labels[failed - 1] ?? ''}' failed`);
  }

  async close(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }

  private waitingJobs(): number {
    return (this.posted - Atomics.load(this.ints, LAYOUT.completed) + NUMBERS) % NUMBERS;
  }

  /** Runs what parts there are, then waits until a job is finished or another begun. */
  private help(): void {
    this.own.drain();
    const completed = Atomics.load(this.ints, LAYOUT.completed);
    if (completed === this.posted) return;
    const until = performance.now() + SPIN_MS;
    while (
      Atomics.load(this.ints, LAYOUT.completed) === completed &&
      (Atomics.load(this.ints, LAYOUT.word) & 255) === 0
    ) {
      if (!this.mayWait || performance.now() < until) continue;
      Atomics.store(this.ints, LAYOUT.waiting, 1);
      try {
        Atomics.wait(this.ints, LAYOUT.completed, completed, 100);
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
      if (this.nextByte + bytes.length > LAYOUT.bytes)
        throw new Error('the kernel modules do not fit into the control block');
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
