import { createHash } from 'node:crypto';
import type { Baseline, RunResult, RunTimings } from '../../ablation/result.js';
import type { AblationRun } from '../../ablation/runs.js';
import type { RunInputs } from '../../resume/inputs.js';
import type { EvalMetrics, StepMetrics } from '../../train/metrics.js';
import type { EvaluationFiles } from '../ablation/evaluation-files.js';

/** Name of the queue: one for all ablations on a Redis server. */
export const QUEUE = 'lowrank-runs';

/** How long a finished run stays in Redis, in seconds: whoever queued it may come back for it. */
export const KEPT_SECONDS = 7 * 24 * 3600;

/** A file of rows or tasks that lies in Redis too, under its hash. */
export interface SentFile {
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
}

/**
 * A run on its way to a worker. Models and data sets go by their paths or Hub ids, and the hashes make sure that they
 * are the same there; single files of data are fetched from Redis where they are not.
 */
export interface RunJob {
  readonly run: AblationRun;
  readonly evaluation: EvaluationFiles & { readonly hash: string };
  readonly files: RunInputs['files'];
  readonly sent: readonly SentFile[];
}

/** What a worker tells of a run that is on. */
export interface JobProgress {
  readonly worker: string;
  readonly totalSteps: number;
  readonly doneSteps: number;
  readonly step?: StepMetrics;
  readonly evaluation?: EvalMetrics;
}

/** Files by name, with what they have to be. */
export type Described = Readonly<Record<string, { readonly sha256: string; readonly bytes: number }>>;

/** What a finished run left in Redis, beside its files and its log. */
export interface JobResult {
  readonly result: RunResult;
  readonly timings: RunTimings;
  /** Metrics of the base model that it was compared with. */
  readonly baseline: readonly [key: string, baseline: Baseline] | undefined;
  /** The files by name, as they have to be. */
  readonly files: Described;
  /** SHA-256 of the lines of the log, each with its line feed. */
  readonly log: string;
}

/**
 * Made of all that the run's numbers follow from: the same run is the same job, whoever queues it and however often.
 */
export function jobId(job: RunJob): string {
  return `run-${digest([job.run, job.evaluation, job.files])}`;
}

/** Where the parts of a run lie in Redis. */
export function runKeys(id: string): Record<'owner' | 'log' | 'checkpoint' | 'files' | 'result', string> {
  const key = (part: string): string => `lowrank:${id}:${part}`;
  return {
    owner: key('owner'),
    log: key('log'),
    checkpoint: key('checkpoint'),
    files: key('files'),
    result: key('result'),
  };
}

/** Where a file lies, in pieces by their number. */
export function fileKey(sha256: string): string {
  return `lowrank:file-${sha256}`;
}

/** Where metrics of a base model lie, for all runs with the same one. */
export function baselineField(job: RunJob, key: string): string {
  return `lowrank:baseline-${digest([key, job.evaluation.hash, job.files['base model'], job.files['tokenizer']])}`;
}

function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 32);
}
