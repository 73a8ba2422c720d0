import * as z from 'zod';
import { FormatError } from '../errors.js';
import { parseJson } from '../io/json.js';

const numbers = z.record(z.string(), z.number());

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
  validation_loss: z.number(),
  train_loss: z.number(),
  test_loss: z.number().optional(),
  steps: z.number(),
  /** Steps of the schedule. */
  total_steps: z.number(),
  stopped_early: z.boolean(),
  train_rows: z.number(),
  tokens: z.number(),
  /** `task/metric` to its value. */
  metrics: numbers,
  /** How much worse than the base model it is in what that could do, by metric: positive is forgetting. */
  forgetting: numbers,
  /** To the first items of each task. */
  answers: z.array(z.object({ task: z.string(), prompt: z.string(), answer: z.string(), reference: z.string() })).default([]),
  trainable_parameters: z.number(),
  adapter_bytes: z.number(),
  /** Bytes of tensors on the device at the fullest moment of a step on full batches, as planned; with the scratch memory of one thread. */
  peak_memory_bytes: z.number().optional(),
  losses: z.array(z.object({ step: z.number(), loss: z.number(), learning_rate: z.number(), grad_norm: z.number() })),
  validation: z.array(z.object({ step: z.number(), eval_loss: z.number() })),
});

/** Everything that a finished run came to, in `result.json` of its folder, written last: a run that has one is finished. */
export type RunResult = z.infer<typeof schema>;

/** What depends on the machine and its load, in `timings.json` beside it. */
export interface RunTimings {
  /** Spent on training, over all sittings. */
  readonly seconds: number;
  readonly tokens_per_second: number;
  readonly evaluation_seconds: number;
}

/** Metrics of a base model that nothing was trained on. */
export interface Baseline {
  readonly metrics: Readonly<Record<string, number>>;
  readonly evaluation: string;
  readonly seconds: number;
}

export const RESULT_FILE = 'result.json';
export const TIMINGS_FILE = 'timings.json';

/** @throws FormatError for what no run has written. */
export function parseResult(text: string, name: string): RunResult {
  const parsed = schema.safeParse(parseJson(text, name));
  if (!parsed.success) throw new FormatError(`${name}: not the result of a run: ${parsed.error.issues[0]?.path.join('.') ?? ''}: ${parsed.error.issues[0]?.message ?? ''}`);
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
