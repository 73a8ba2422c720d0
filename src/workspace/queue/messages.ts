import { createHash } from 'node:crypto';
import * as z from 'zod';
import { parseBaseline, parseResult, RESULT_FILE, TIMINGS_FILE } from '../../ablation/result.js';
import { baselineKey } from '../../ablation/baselines.js';
import type { Settings } from '../../ablation/config.js';
import { runConfigSchema } from '../../config/schema.js';
import { FormatError } from '../../errors.js';
import { parseJson } from '../../io/json.js';
import { METRICS_FILE } from '../output.js';
import { jobId, type JobProgress, type JobResult, type RunJob } from './job.js';

/** A job without its files has a few thousand. */
export const MOST_JOB_BYTES = 2 ** 20;
/**
 * Largest file of rows, checkpoint and set of result files that goes through Redis, in bytes: all of it is in the
 * server's memory.
 */
export const MOST_BYTES = 2 ** 28;
/** Bytes of a file in one value. */
export const PIECE = 2 ** 22;
/** Of the JSON of a result: curves and answers are most of it. */
const MOST_RESULT_BYTES = 2 ** 26;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'is no SHA-256');
/** The name of one folder or file: no separator, no `..`, nothing hidden. */
const plainName = z.string().regex(/^(?![.-])[\w.+-]{1,200}$/, 'is no plain file name');
/** Of a file or folder, or a name of the Hub. */
const path = z
  .string()
  .min(1)
  .max(4096)
  .regex(/^[^\0-\x1f]*$/, 'is no path');
const size = z.int().min(0).max(MOST_BYTES);
const number = z.number().nullish();

const entry = z.looseObject({ path });
const evaluation = z.strictObject({
  tasks: path.optional(),
  tasksData: path.optional(),
  retain: z.array(z.union([path, entry])).max(1000),
  hash: z.union([z.literal(''), sha256]),
});

const jobSchema = z.strictObject({
  run: z.strictObject({
    id: plainName,
    settings: z.record(z.string(), z.unknown()),
    seed: z.int().min(0),
    config: runConfigSchema,
  }),
  evaluation,
  files: z.record(z.string(), z.record(z.string(), z.string())),
  sent: z.array(z.strictObject({ path, sha256, bytes: size })).max(10_000),
});

/**
 * A job out of the text of a message, every name in it checked.
 * @throws FormatError naming the field that is wrong, and for a job that is not the one of its id.
 */
export function parseJob(text: string, id: string): RunJob {
  if (text.length > MOST_JOB_BYTES)
    throw new FormatError(`${id}: a job of ${text.length} bytes, and at most ${MOST_JOB_BYTES} are taken`);
  const json = parseJson(text, id);
  check(jobSchema, json, id, 'job');
  // As it was written: the id is made of that.
  const job = json as RunJob;
  if (jobId(job) !== id) throw new FormatError(`${id}: what is in the queue under this name is another run`);
  return job;
}

const named = z.record(plainName, z.strictObject({ sha256, bytes: size }));

const checkpointSchema = z.strictObject({ step: z.int().min(0), files: named });

/** What a checkpoint has to be, out of the text of a message. @throws FormatError */
export function parseCheckpoint(text: string, id: string): z.infer<typeof checkpointSchema> {
  return check(checkpointSchema, parseJson(text, id), id, 'checkpoint');
}

const resultSchema = z.strictObject({
  result: z.unknown(),
  timings: z.strictObject({ seconds: z.number(), tokens_per_second: z.number(), evaluation_seconds: z.number() }),
  baseline: z.tuple([z.string(), z.unknown()]).optional(),
  files: named,
  log: sha256,
});

/** Files beside those of the result in the folder of a run. */
const RESERVED = new Set([RESULT_FILE, TIMINGS_FILE, METRICS_FILE]);

/**
 * What a run came to, out of the text of a message: it has to be the answer to the job, with files that may stand in
 * the run's folder.
 * @throws FormatError
 */
export function parseJobResult(text: string, id: string, job: RunJob): JobResult {
  if (text.length > MOST_RESULT_BYTES)
    throw new FormatError(`${id}: a result of ${text.length} bytes, and at most ${MOST_RESULT_BYTES} are taken`);
  const { result: written, timings, baseline, files, log } = check(resultSchema, parseJson(text, id), id, 'result');
  const result = parseResult(JSON.stringify(written), id);
  const { run } = job;
  if (
    result.id !== run.id ||
    result.seed !== run.seed ||
    !same(result.settings, run.settings) ||
    !same(result.config, run.config)
  )
    throw new FormatError(`${id}: the result is that of another run than ${run.id}`);
  if (baseline !== undefined && baseline[0] !== baselineKey(run))
    throw new FormatError(`${id}: the result has the metrics of another base model than that of ${run.id}`);
  const bad = Object.keys(files).filter((name) => RESERVED.has(name) || /^checkpoint-/.test(name));
  if (bad.length > 0) throw new FormatError(`${id}: the result has files that are none of a result: ${bad.join(', ')}`);
  const bytes = Object.values(files).reduce((sum, file) => sum + file.bytes, 0);
  if (bytes > MOST_BYTES) throw new FormatError(`${id}: files of ${bytes} bytes, and at most ${MOST_BYTES} are taken`);
  return {
    result,
    timings,
    baseline: baseline === undefined ? undefined : [baseline[0], parseBaseline(JSON.stringify(baseline[1]), id)],
    files,
    log,
  };
}

const progressSchema = z.object({
  worker: z.string().max(200),
  totalSteps: z.number(),
  doneSteps: z.number(),
  step: z.looseObject({ step: z.number(), loss: number, tokens_per_second: number }).optional(),
  evaluation: z.looseObject({ step: z.number(), eval_loss: number }).optional(),
});

/** What a worker tells of a run; undefined for anything else. */
export function parseProgress(given: unknown): JobProgress | undefined {
  const parsed = progressSchema.safeParse(given);
  return parsed.success ? (given as JobProgress) : undefined;
}

/** One line of a log. @throws FormatError for anything but an object of simple values. */
export function parseLogLine(line: string, id: string): object {
  return check(
    z.record(z.string(), z.union([z.number(), z.string(), z.boolean(), z.null()])),
    parseJson(line, id),
    id,
    'log',
  );
}

export function sha256Of(data: Uint8Array | string): string {
  return createHash('sha256').update(data).digest('hex');
}

function check<T extends z.ZodType>(schema: T, json: unknown, id: string, what: string): z.output<T> {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues
    .slice(0, 5)
    .map(({ path: at, message }) => `${at.map(String).join('.') || 'all of it'}: ${message}`);
  throw new FormatError(`${id}: the ${what} in the queue is refused: ${problems.join('; ')}`);
}

/** Whether two values are the same JSON, whatever the order of keys. */
function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value as Settings)
      .filter(([, own]) => own !== undefined)
      .sort(([x], [y]) => (x < y ? -1 : 1))
      .map(([key, own]) => [key, sorted(own)]),
  );
}
