import type { ChainableCommander, Redis } from 'ioredis';
import { parseBaseline, type Baseline } from '../../ablation/result.js';
import type { AblationStore } from '../../ablation/store.js';
import { FormatError, LowrankError } from '../../errors.js';
import { memoryDirectory, type Directory } from '../../io/directory.js';
import { parseJson } from '../../io/json.js';
import { checkpointName } from '../../resume/checkpoint.js';
import { formatBytes } from '../../format.js';
import { baselineField, KEPT_SECONDS, runKeys, type Described, type JobResult, type RunJob } from './job.js';
import { MOST_BYTES, parseCheckpoint, parseJobResult, parseLogLine, sha256Of } from './messages.js';
import { seal, unseal } from './signature.js';

type Files = Readonly<Record<string, Uint8Array | string>>;

/** In a checkpoint's hash, beside its files: its step and what its files have to be. No file has such a name. */
const SEAL_FIELD = '/seal';

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
 * Keeps one run in Redis while it is made, so that any machine can go on with it. Every write is one transaction, and
 * only the owner's count: whoever claimed the run last.
 * @param owner a name that no other attempt has.
 * @param secret signs what is written, and what is read has to be signed with it.
 */
export async function claimRun(
  redis: Redis,
  id: string,
  owner: string,
  job: RunJob,
  note: (text: string) => void,
  secret?: string,
): Promise<JobStore> {
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
    try {
      return await readCheckpoint(redis, id, secret);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      note(`${error.message}: the run begins anew`);
      return undefined;
    }
  };

  return {
    get lost() {
      return lost;
    },
    checkpoint,
    dropCheckpoint: () => write((transaction) => transaction.del(keys.checkpoint)),
    async state() {
      try {
        const found = await readResult(redis, id, job, secret);
        return found === undefined ? {} : { finished: found };
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        note(`${error.message}: the run is made again`);
        return {};
      }
    },
    async open() {
      return {
        resume: await checkpoint(),
        async begin(step) {
          const lines = await redis.lrange(keys.log, 0, -1);
          const kept = lines.filter((line) => stepOf(line, id) <= step);
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
            note(
              `the checkpoint of step ${step} has ${formatBytes(bytes)}, more than the ${formatBytes(MOST_BYTES)} that are kept in Redis: nobody could go on from it`,
            );
            return;
          }
          await write((transaction) =>
            transaction.del(keys.checkpoint).hset(keys.checkpoint, {
              ...contents(files),
              [SEAL_FIELD]: JSON.stringify(
                seal('checkpoint', id, JSON.stringify({ step, files: described(files) }), secret),
              ),
            }),
          );
        },
        async finish(files, result, timings) {
          const bytes = sizeOf(files);
          if (bytes > MOST_BYTES)
            throw new LowrankError(
              `the result has ${formatBytes(bytes)}, and at most ${formatBytes(MOST_BYTES)} go through Redis: make this run without a queue`,
            );
          const lines = await redis.lrange(keys.log, 0, -1);
          const whole: JobResult = {
            result,
            timings,
            baseline: base,
            files: described(files),
            log: sha256Of(textOf(lines)),
          };
          await write((transaction) =>
            transaction
              .del(keys.checkpoint, keys.files)
              .hset(keys.files, contents(files))
              .set(keys.result, JSON.stringify(seal('result', id, JSON.stringify(whole), secret))),
          );
        },
        // The queue keeps the error.
        fail: () => Promise.resolve(),
      };
    },
    // Adapters are compared where all of them are.
    adapter: ({ id: name }) => memoryDirectory(name, {}),
    async baseline(key) {
      const field = baselineField(job, key);
      const text = await redis.get(field);
      const found = text === null ? undefined : readBaseline(text, field, secret, note);
      if (found !== undefined) base = [key, found];
      return found;
    },
    async saveBaseline(key, baseline) {
      base = [key, baseline];
      const field = baselineField(job, key);
      await redis.set(
        field,
        JSON.stringify(seal('baseline', field, JSON.stringify(baseline), secret)),
        'EX',
        KEPT_SECONDS,
      );
    },
    write: () => Promise.resolve(),
  };
}

/**
 * Undefined while the run is not finished, and when it was so long ago that it is gone.
 * @throws FormatError for what is no result of the job, or is not signed as it should be.
 */
export async function readResult(
  redis: Redis,
  id: string,
  job: RunJob,
  secret: string | undefined,
): Promise<JobResult | undefined> {
  const key = runKeys(id).result;
  if ((await redis.strlen(key)) > MOST_BYTES)
    throw new FormatError(`${id}: the result in the queue is larger than ${formatBytes(MOST_BYTES)}`);
  const text = await redis.get(key);
  return text === null ? undefined : parseJobResult(unseal('result', id, parseJson(text, id), secret), id, job);
}

/** The files of a finished run, by name. @throws FormatError where they are not those that the result names. */
export async function readFiles(
  redis: Redis,
  id: string,
  { files }: Pick<JobResult, 'files'>,
): Promise<Record<string, Uint8Array>> {
  return readFields(redis, runKeys(id).files, files, id);
}

/** The lines of metrics.jsonl. @throws FormatError where they are not those that the result was made with. */
export async function readLog(
  redis: Redis,
  id: string,
  { log }: Partial<Pick<JobResult, 'log'>> = {},
): Promise<object[]> {
  const { log: key } = runKeys(id);
  const lines: string[] = [];
  let length = 0;
  for (
    let more = await redis.lrange(key, 0, LINES_AT_ONCE - 1);
    more.length > 0;
    more = await redis.lrange(key, lines.length, lines.length + LINES_AT_ONCE - 1)
  ) {
    lines.push(...more);
    length += textOf(more).length;
    if (length > MOST_BYTES)
      throw new FormatError(`${id}: the log in the queue is larger than ${formatBytes(MOST_BYTES)}`);
  }
  if (log !== undefined && sha256Of(textOf(lines)) !== log)
    throw new FormatError(`${id}: the log in the queue is not that of the result`);
  return lines.map((line) => parseLogLine(line, id));
}

const LINES_AT_ONCE = 1000;

async function readCheckpoint(redis: Redis, id: string, secret: string | undefined): Promise<Directory | undefined> {
  const { checkpoint: key } = runKeys(id);
  const text = await redis.hget(key, SEAL_FIELD);
  if (text === null) return undefined;
  const { step, files } = parseCheckpoint(unseal('checkpoint', id, parseJson(text, id), secret), id);
  return memoryDirectory(checkpointName(step), await readFields(redis, key, files, id));
}

/** Fields of a hash, each of the size and the content that it has to have. */
async function readFields(
  redis: Redis,
  key: string,
  files: Described,
  id: string,
): Promise<Record<string, Uint8Array>> {
  const found: Record<string, Uint8Array> = {};
  for (const [name, { sha256, bytes }] of Object.entries(files)) {
    const content = (await redis.hstrlen(key, name)) === bytes ? await redis.hgetBuffer(key, name) : null;
    if (content === null || sha256Of(content) !== sha256)
      throw new FormatError(`${id}: ${name} in the queue is not what the run wrote`);
    found[name] = content;
  }
  return found;
}

/** Undefined for what is not to be trusted: it is measured again. */
function readBaseline(
  text: string,
  field: string,
  secret: string | undefined,
  note: (text: string) => void,
): Baseline | undefined {
  try {
    return parseBaseline(unseal('baseline', field, parseJson(text, field), secret), field);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    note(`${error.message}: the base model is measured again`);
    return undefined;
  }
}

/** Of a line of the log; infinite for what has none, and for what no run has written. */
function stepOf(line: string, id: string): number {
  try {
    const { step } = parseLogLine(line, id) as { readonly step?: unknown };
    return typeof step === 'number' ? step : Infinity;
  } catch {
    return Infinity;
  }
}

function textOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}

function described(files: Files): Described {
  return Object.fromEntries(
    Object.entries(contents(files)).map(([name, content]) => [
      name,
      { sha256: sha256Of(content), bytes: Buffer.byteLength(content) },
    ]),
  );
}

function sizeOf(files: Files): number {
  return Object.values(files).reduce((sum, content) => sum + content.length, 0);
}

function contents(files: Files): Record<string, Buffer | string> {
  return Object.fromEntries(
    Object.entries(files).map(([name, content]) => [
      name,
      typeof content === 'string' ? content : Buffer.from(content.buffer, content.byteOffset, content.byteLength),
    ]),
  );
}
