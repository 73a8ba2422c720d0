import * as z from 'zod';
import { FormatError } from '../errors.js';
import { parseJson } from '../io/json.js';

/** NaN, as a metric of nothing has it, is null in JSON. */
const measured = z
  .number()
  .nullable()
  .transform((value) => value ?? NaN);
const numbers = z.record(z.string(), measured);

const schema = z.object({
  format: z.literal(1),
  id: z.string(),
  settings: z.record(z.string(), z.unknown()),
  seed: z.number(),
  /** The whole config of the run. */
  config: z.record(z.string(), z.unknown()),
  /** SHA-256 of what it was trained on, by part and file. */
  files: z.record(z.string(), z.record(z.string(), z.string())),
  /** What computed it, and SHA-256 of the tasks that it was evaluated on. */
  backend: z.string(),
  evaluation: z.string(),
  /** Of the trained model as it is saved, in nats a token. */
  validation_loss: measured,
  train_loss: measured,
  test_loss: measured.optional(),
  steps: z.number(),
  /** Steps of the schedule. */
  total_steps: z.number(),
  stopped_early: z.boolean(),
  train_rows: z.number(),
  tokens: z.number(),
  /** `task/metric` to its value; NaN where there was nothing to measure. */
  metrics: numbers,
  /**
   * How much worse than the base model it is in what that could do, by metric: positive is forgetting; of metrics that
   * both have.
   */
  forgetting: numbers,
  /** To the first items of each task. */
  answers: z
    .array(z.object({ task: z.string(), prompt: z.string(), answer: z.string(), reference: z.string() }))
    .default([]),
  trainable_parameters: z.number(),
  adapter_bytes: z.number(),
  /**
   * Bytes of tensors on the device at the fullest moment of a step on full batches, as planned; with the scratch memory
   * of one thread.
   */
  peak_memory_bytes: z
    .number()
    .nullish()
    .transform((value) => value ?? undefined)
    .optional(),
  losses: z.array(z.object({ step: z.number(), loss: measured, learning_rate: z.number(), grad_norm: measured })),
  validation: z.array(z.object({ step: z.number(), eval_loss: measured })),
});

/**
 * Everything that a finished run came to, in `result.json` of its folder, written last: a run that has one is finished.
 */
export type RunResult = z.infer<typeof schema>;

/** What depends on the machine and its load, in `timings.json` beside it. */
export interface RunTimings {
  /** Spent on training, before and after interruptions. */
  readonly seconds: number;
  readonly tokens_per_second: number;
  readonly evaluation_seconds: number;
}

const baselineSchema = z.object({ metrics: numbers, evaluation: z.string(), seconds: z.number() });

/**
 * Metrics of a base model that nothing was trained on, the hash of what they were measured by, and how long that took.
 */
export type Baseline = Readonly<z.infer<typeof baselineSchema>>;

export const RESULT_FILE = 'result.json';
export const TIMINGS_FILE = 'timings.json';

/** @throws FormatError for what no run has written. */
export function parseResult(text: string, name: string): RunResult {
  return parseAs(schema, text, name, 'the result of a run');
}

/** @throws FormatError for what is not the metrics of a base model. */
export function parseBaseline(text: string, name: string): Baseline {
  return parseAs(baselineSchema, text, name, 'the metrics of a base model');
}

function parseAs<T extends z.ZodType>(expected: T, text: string, name: string, what: string): z.output<T> {
  const parsed = expected.safeParse(parseJson(text, name));
  if (!parsed.success)
    throw new FormatError(
      `${name}: not ${what}: ${parsed.error.issues[0]?.path.join('.') ?? ''}: ${parsed.error.issues[0]?.message ?? ''}`,
    );
  return parsed.data;
}

/** A finished run with its times. */
export interface FinishedRun {
  readonly result: RunResult;
  readonly timings: RunTimings | undefined;
}

/** A run that an error ended. */
export interface FailedRun {
  readonly id: string;
  readonly error: string;
}
