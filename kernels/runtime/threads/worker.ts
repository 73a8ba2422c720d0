/** Where things lie in the control block that all threads share: int32 slots, float64 slots, and bytes of modules. */
export const LAYOUT = {
  /**
   * Number of the job at hand in the upper 24 bits, parts of it that nobody has taken yet in the lower 8. Each on a
   * cache line of its own.
   */
  word: 0,
  /** Numbers of the last job that was posted, and of the last one that is finished. */
  posted: 16,
  completed: 32,
  /** 1 + the place of a job of which a part has failed; 0 if none has. */
  failed: 48,
  /**
   * Workers that sleep, or are about to, until the word changes; 1 while the thread that posts sleeps until a job is
   * finished.
   */
  sleeping: 64,
  waiting: 80,
  /** Parts that are finished of the job in each place. */
  done: 96,
  /** Jobs take these in turn: job n lies in place n mod places. A power of two. */
  places: 256,
  /** Pairs of offset and length in bytes, one a module. */
  modules: 512,
  /** float64 slots: places of jobs, and in each what JOB says, the arguments, and those of what prepares them. */
  jobs: 1024,
  jobSlots: 96,
  args: 16,
  prepareArgs: 56,
  moduleBytes: 2 ** 18,
  bytes: 2 ** 21,
} as const;

/** The order of a job's numbers from its place on. */
export const JOB = {
  module: 0,
  run: 1,
  prepare: 2,
  parts: 3,
  count: 4,
  grain: 5,
  scratch: 6,
  scratchStride: 7,
  argCount: 8,
  prepareArgCount: 9,
} as const;

/** Numbers of jobs begin anew after this many. */
export const NUMBERS = 2 ** 24;

/** What a thread is given. `thread` counts from 0, which is the thread that posts the jobs. */
export interface ThreadData {
  readonly control: SharedArrayBuffer;
  readonly memory: WebAssembly.Memory;
  readonly thread: number;
  readonly layout: typeof LAYOUT;
  readonly job: typeof JOB;
}

/** What a thread does with the jobs. */
export interface JobThread {
  /** Takes and runs parts until none is left of the job at hand, and no other follows. */
  readonly drain: () => void;
  /** Makes the next job the one at hand, if there is one and the last is finished. */
  readonly advance: () => void;
}

/**
 * Makes the functions by which a thread takes part. The text is what workers are given, so it uses nothing but its
 * argument.
 *
 * Jobs run one after the other, in the order of their posting. One is posted by describing it in its place and then
 * counting `posted` up. It becomes the one at hand once the one before is finished: whoever posts, and whoever finishes
 * a last part, looks whether both have happened, and whoever of them changes the word has begun it. A thread takes a
 * part by lowering the word, which fails if the job has changed meanwhile; while it has the part, the job is not
 * finished and its place not used again. A thread that starts or wakes late does no harm: nobody waits for threads,
 * only for parts.
 */
export function makeThread({ control, memory, thread, layout, job }: ThreadData): JobThread {
  const ints = new Int32Array(control);
  const floats = new Float64Array(control);
  const modules: ((...args: number[]) => void)[][] = [];
  const placeOf = (number: number): number => number & (layout.places - 1);
  const functionsOf = (which: number): ((...args: number[]) => void)[] => {
    let functions = modules[which];
    if (functions === undefined) {
      const entry = layout.modules + 2 * which;
      // The compiler wants bytes that nobody can change.
      const bytes = new Uint8Array(control, ints[entry], ints[entry + 1]).slice();
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
      functions = modules[which] = Object.values(exports) as ((...args: number[]) => void)[];
    }
    return functions;
  };
  const advance = (): void => {
    for (;;) {
      const word = Atomics.load(ints, layout.word);
      const number = word >>> 8;
      if (Atomics.load(ints, layout.completed) !== number || Atomics.load(ints, layout.posted) === number) return;
      const next = (number + 1) & 0xffffff;
      const parts = floats[layout.jobs + placeOf(next) * layout.jobSlots + job.parts] as number;
      if (Atomics.compareExchange(ints, layout.word, word, (next << 8) | parts) !== word) continue;
      if (Atomics.load(ints, layout.sleeping) > 0) Atomics.notify(ints, layout.word, parts);
      return;
    }
  };
  const drain = (): void => {
    for (;;) {
      const word = Atomics.load(ints, layout.word);
      const left = word & 255;
      if (left === 0) return;
      if (Atomics.compareExchange(ints, layout.word, word, word - 1) !== word) continue;
      const number = word >>> 8;
      const base = layout.jobs + placeOf(number) * layout.jobSlots;
      const at = (slot: number): number => floats[base + slot] as number;
      const parts = at(job.parts);
      try {
        const functions = functionsOf(at(job.module));
        const begin = (parts - left) * at(job.grain);
        const end = Math.min(at(job.count), begin + at(job.grain));
        const scratch = at(job.scratch) + thread * at(job.scratchStride);
        const prepare = functions[at(job.prepare)];
        if (prepare !== undefined)
          prepare(
            ...floats.subarray(base + layout.prepareArgs, base + layout.prepareArgs + at(job.prepareArgCount)),
            scratch,
          );
        functions[at(job.run)]?.(
          ...floats.subarray(base + layout.args, base + layout.args + at(job.argCount)),
          begin,
          end,
          scratch,
        );
      } catch {
        Atomics.store(ints, layout.failed, 1 + placeOf(number));
      }
      if (Atomics.add(ints, layout.done + placeOf(number), 1) + 1 < parts) continue;
      Atomics.store(ints, layout.completed, number);
      if (Atomics.load(ints, layout.waiting) !== 0) Atomics.notify(ints, layout.completed);
      advance();
    }
  };
  return { drain, advance };
}

/** The life of a worker; like `makeThread` it is passed on as text. */
export function serve(data: ThreadData, make: typeof makeThread, spinMs: number): void {
  const ints = new Int32Array(data.control);
  const { drain } = make(data);
  for (;;) {
    drain();
    // Jobs follow each other within microseconds; falling asleep and being woken takes tens of them.
    const until = performance.now() + spinMs;
    let word = Atomics.load(ints, data.layout.word);
    while ((word & 255) === 0 && performance.now() < until) word = Atomics.load(ints, data.layout.word);
    if ((word & 255) !== 0) continue;
    // Whoever begins a job after this sees that somebody sleeps; the word of one begun before is not the one that is
    // waited on.
    Atomics.add(ints, data.layout.sleeping, 1);
    Atomics.wait(ints, data.layout.word, word);
    Atomics.sub(ints, data.layout.sleeping, 1);
  }
}
