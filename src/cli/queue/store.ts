import type { ChainableCommander, Redis } from 'ioredis';
import { parseBaseline, parseResult, type Baseline } from '../../ablation/result.js';
import type { AblationStore } from '../../ablation/store.js';
import { LowrankError } from '../../errors.js';
import { memoryDirectory, type Directory } from '../../io/directory.js';
import { parseJson } from '../../io/json.js';
import { checkpointName } from '../../resume/checkpoint.js';
import { formatBytes } from '../format.js';
import { baselineField, KEPT_SECONDS, runKeys, type JobResult, type RunJob } from './job.js';

type Files = Readonly<Record<string, Uint8Array | string>>;

/** Largest checkpoint that goes into Redis, in bytes: it lies in the server's memory. The same for the files of a result. */
const MOST_BYTES = 2 ** 28;

/** In a checkpoint's hash, beside its files: no file has such a name. */
const STEP_FIELD = '/step';

/** This worker was taken for dead, and another has gone on with its run. */
export class LostRunError extends LowrankError {}

export interface JobStore extends AblationStore {
  /** The run was taken away. */
  readonly lost: boolean;
  /** The newest checkpoint; undefined for a run that nobody has begun. */
  checkpoint(): Promise<Directory | undefined>;
  /** Lets the run start anew. */
  dropCheckpoint(): Promise<void>;
}

/**
 * Keeps one run in Redis while it is made, so that any machine can go on with it. Every write is one transaction, and only the owner's
 * count: whoever claimed the run last.
 * @param owner a name that no other attempt has.
 */
export async function claimRun(redis: Redis, id: string, owner: string, job: RunJob, note: (text: string) => void): Promise<JobStore> {
  const keys = runKeys(id);
  let lost = false;
  let base: readonly [string, Baseline] | undefined;
  await redis.set(keys.owner, owner, 'EX', KEPT_SECONDS);

  const write = async (change: (transaction: ChainableCommander) => void): Promise<void> => {
    await redis.watch(keys.owner);
    const current = await redis.get(keys.owner);
    const transaction = redis.multi();
    if (current === owner) change(transaction);
    for (const key of Object.values(keys)) transaction.expire(key, KEPT_SECONDS);
    const results = current === owner ? await transaction.exec() : (await redis.unwatch(), null);
    if (results === null) {
      lost = true;
      throw new LostRunError(`${job.run.id}: another worker has taken over`);
    }
    for (const [error] of results) if (error !== null) throw error;
  };
  const checkpoint = async (): Promise<Directory | undefined> => {
    const found = await redis.hgetallBuffer(keys.checkpoint);
    const { [STEP_FIELD]: step, ...files } = found;
    return step === undefined ? undefined : memoryDirectory(checkpointName(Number(step)), files);
  };

  return {
    get lost() {
      return lost;
    },
    checkpoint,
    dropCheckpoint: () => write((transaction) => transaction.del(keys.checkpoint)),
    async state() {
      const found = await readResult(redis, id);
      return found === undefined ? {} : { finished: found };
    },
    async open() {
      return {
        resume: await checkpoint(),
        async begin(step) {
          const lines = await redis.lrange(keys.log, 0, -1);
          const kept = lines.filter((line) => (JSON.parse(line) as { step?: number }).step !== undefined && (JSON.parse(line) as { step: number }).step <= step);
          await write((transaction) => {
            transaction.del(keys.log);
            if (step > 0 && kept.length > 0) transaction.rpush(keys.log, ...kept);
          });
        },
        append: (metrics) => write((transaction) => transaction.rpush(keys.log, JSON.stringify(metrics))),
        log: () => readLog(redis, id),
        async save(files, { step }) {
          const bytes = sizeOf(files);
          if (bytes > MOST_BYTES) {
            note(`the checkpoint of step ${step} has ${formatBytes(bytes)}, more than the ${formatBytes(MOST_BYTES)} that are kept in Redis: nobody could go on from it`);
            return;
          }
          await write((transaction) => transaction.del(keys.checkpoint).hset(keys.checkpoint, { ...contents(files), [STEP_FIELD]: String(step) }));
        },
        async finish(files, result, timings) {
          const bytes = sizeOf(files);
          if (bytes > MOST_BYTES) throw new LowrankError(`the result has ${formatBytes(bytes)}, and at most ${formatBytes(MOST_BYTES)} go through Redis: make this run without a queue`);
          const whole: JobResult = { result, timings, baseline: base };
          await write((transaction) => transaction.del(keys.checkpoint, keys.files).hset(keys.files, contents(files)).set(keys.result, JSON.stringify(whole)));
        },
        // The queue keeps the error.
        fail: () => Promise.resolve(),
      };
    },
    // Adapters are compared where all of them are.
    adapter: ({ id: name }) => memoryDirectory(name, {}),
    async baseline(key) {
      const text = await redis.get(baselineField(job, key));
      const found = text === null ? undefined : parseBaseline(text, keys.result);
      if (found !== undefined) base = [key, found];
      return found;
    },
    async saveBaseline(key, baseline) {
      base = [key, baseline];
      await redis.set(baselineField(job, key), JSON.stringify(baseline), 'EX', KEPT_SECONDS);
    },
    write: () => Promise.resolve(),
  };
}

/** Undefined while the run is not finished, and when it was so long ago that it is gone. */
export async function readResult(redis: Redis, id: string): Promise<JobResult | undefined> {
  const text = await redis.get(runKeys(id).result);
  if (text === null) return undefined;
  const { result, timings, baseline } = parseJson(text, id) as JobResult;
  return { result: parseResult(JSON.stringify(result), id), timings, baseline: baseline === undefined ? undefined : [baseline[0], parseBaseline(JSON.stringify(baseline[1]), id)] };
}

/** The files of a finished run, by name. */
export async function readFiles(redis: Redis, id: string): Promise<Record<string, Uint8Array>> {
  return redis.hgetallBuffer(runKeys(id).files);
}

/** The lines of metrics.jsonl. */
export async function readLog(redis: Redis, id: string): Promise<object[]> {
  const lines = await redis.lrange(runKeys(id).log, 0, -1);
  return lines.map((line) => parseJson(line, id) as object);
}

function sizeOf(files: Files): number {
  return Object.values(files).reduce((sum, content) => sum + content.length, 0);
}

function contents(files: Files): Record<string, Buffer | string> {
  return Object.fromEntries(Object.entries(files).map(([name, content]) => [name, typeof content === 'string' ? content : Buffer.from(content.buffer, content.byteOffset, content.byteLength)]));
}
