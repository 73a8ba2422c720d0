/** Where things lie in the control block that all threads share: int32 slots, float64 slots, and bytes of modules. */
export const LAYOUT = {
  /** Number of the job in the upper 24 bits, parts that nobody has taken yet in the lower 8. Each on a cache line of its own. */
  word: 0,
  /** Parts that are finished. */
  done: 16,
  /** 1 after a part has failed. */
  failed: 32,
  /** Workers that sleep, or are about to, until the word changes; 1 while the thread that posts sleeps until the parts are finished. */
  sleeping: 48,
  waiting: 64,
  /** Pairs of offset and length in bytes, one a module. */
  modules: 256,
  /** float64 slots: what `describeJob` writes. */
  job: 32,
  args: 48,
  prepareArgs: 88,
  moduleBytes: 4096,
  bytes: 2 ** 21,
} as const;

/** The order of a job's numbers from LAYOUT.job on. */
export const JOB = { module: 0, run: 1, prepare: 2, parts: 3, count: 4, grain: 5, scratch: 6, scratchStride: 7, argCount: 8, prepareArgCount: 9 } as const;

/** What a thread is given. `thread` counts from 0, which is the thread that posts the jobs. */
export interface ThreadData {
  readonly control: SharedArrayBuffer;
  readonly memory: WebAssembly.Memory;
  readonly thread: number;
  readonly layout: typeof LAYOUT;
  readonly job: typeof JOB;
}

/**
 * Makes the function with which a thread takes and runs parts of the current job until none is left. Its text is what workers are
 * given, so it uses nothing but its argument.
 *
 * A job is posted by writing its description and then the word. A thread reads word and description, and takes a part by lowering
 * the word: that fails if another job has been posted meanwhile, so that a half-read description is never acted upon, and a thread that
 * starts or wakes late does no harm: nobody waits for threads, only for parts.
 */
export function makeDrain({ control, memory, thread, layout, job }: ThreadData): () => void {
  const ints = new Int32Array(control);
  const floats = new Float64Array(control);
  const modules: ((...args: number[]) => void)[][] = [];
  return () => {
    for (;;) {
      const word = Atomics.load(ints, layout.word);
      const left = word & 255;
      if (left === 0) return;
      const at = (slot: number): number => floats[layout.job + slot] as number;
      const which = at(job.module);
      let functions = modules[which];
      if (functions === undefined) {
        const entry = layout.modules + 2 * which;
        // The compiler wants bytes that nobody can change.
        const bytes = new Uint8Array(control, ints[entry], ints[entry + 1]).slice();
        const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
        functions = modules[which] = Object.values(exports) as ((...args: number[]) => void)[];
      }
      const run = functions[at(job.run)];
      const prepare = functions[at(job.prepare)];
      const parts = at(job.parts);
      const begin = (parts - left) * at(job.grain);
      const end = Math.min(at(job.count), begin + at(job.grain));
      const scratch = at(job.scratch) + thread * at(job.scratchStride);
      const args = floats.slice(layout.args, layout.args + at(job.argCount));
      const prepareArgs = floats.slice(layout.prepareArgs, layout.prepareArgs + at(job.prepareArgCount));
      if (Atomics.compareExchange(ints, layout.word, word, word - 1) !== word) continue;
      try {
        prepare?.(...prepareArgs, scratch);
        run?.(...args, begin, end, scratch);
      } catch {
        Atomics.store(ints, layout.failed, 1);
      }
      if (Atomics.add(ints, layout.done, 1) + 1 === parts && Atomics.load(ints, layout.waiting) !== 0) Atomics.notify(ints, layout.done);
    }
  };
}

/** The life of a worker; like `makeDrain` it is passed on as text. */
export function serve(data: ThreadData, make: typeof makeDrain, spinMs: number): void {
  const ints = new Int32Array(data.control);
  const drain = make(data);
  for (;;) {
    drain();
    // Jobs follow each other within microseconds; falling asleep and being woken takes tens of them.
    const until = performance.now() + spinMs;
    let word = Atomics.load(ints, data.layout.word);
    while ((word & 255) === 0 && performance.now() < until) word = Atomics.load(ints, data.layout.word);
    if ((word & 255) !== 0) continue;
    // Whoever posts a job after this sees that somebody sleeps; the word of one posted before is not the one that is waited on.
    Atomics.add(ints, data.layout.sleeping, 1);
    Atomics.wait(ints, data.layout.word, word);
    Atomics.sub(ints, data.layout.sleeping, 1);
  }
}
