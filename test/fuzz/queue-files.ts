import { baselineKey } from '../../src/ablation/baselines.js';
import type { AblationRun } from '../../src/ablation/runs.js';
import { jobId, type RunJob } from '../../src/workspace/queue/job.js';
import { loadConfig } from '../../src/config/load.js';
import type { Files } from './mutate.js';

const HASH = 'a'.repeat(64);
const config = loadConfig(
  '{model: ./model, data: {train: rows.jsonl, validation: rows.jsonl}, training: {output_dir: out}}',
  'run.yaml',
);
const JOB: RunJob = {
  run: { id: 'r-1_seed-42', settings: { r: 1 }, seed: 42, config },
  evaluation: { tasks: undefined, tasksData: undefined, retain: ['retain.jsonl'], hash: HASH },
  files: { 'base model': { 'config.json': HASH } },
  sent: [{ path: '/data/rows.jsonl', sha256: HASH, bytes: 10 }],
};

/** A finished run, with everything that result.json has. */
export const RESULT = {
  ...{
    format: 1,
    id: JOB.run.id,
    settings: JOB.run.settings,
    seed: 42,
    config: JSON.parse(JSON.stringify(config)) as object,
    files: JOB.files,
    backend: 'wasm',
    evaluation: HASH,
  },
  ...{
    validation_loss: 1,
    train_loss: null,
    steps: 1,
    total_steps: 1,
    stopped_early: false,
    train_rows: 1,
    tokens: 1,
    metrics: { 'a/f1': 0.5 },
    forgetting: {},
  },
  ...{ answers: [{ task: 'a', prompt: 'p', answer: 'x', reference: 'y' }], trainable_parameters: 1, adapter_bytes: 1 },
  ...{ losses: [{ step: 1, loss: 2, learning_rate: 0.1, grad_norm: null }], validation: [{ step: 1, eval_loss: 1 }] },
};

/** A job, what a worker tells of it, and its result. */
export function queueFiles(): Files {
  const baseline = { metrics: { loss: 1 }, evaluation: HASH, seconds: 1 };
  const timings = { seconds: 1, tokens_per_second: 1, evaluation_seconds: 1 };
  const result = {
    result: RESULT,
    timings,
    baseline: [baselineKey(JOB.run as AblationRun), baseline],
    files: { 'adapter_model.safetensors': { sha256: HASH, bytes: 10 } },
    log: HASH,
  };
  return {
    job: JSON.stringify(JOB),
    result: JSON.stringify(result),
    'result.json': JSON.stringify(RESULT),
    line: '{"step": 1, "loss": 2}',
  };
}

/** The id of a job as it is written, changed or not: what is behind this first check is read too. */
export function idOf(text: string): string {
  try {
    return jobId(JSON.parse(text) as RunJob);
  } catch {
    return 'run-x';
  }
}

/** The job itself, for a result whose job was changed. */
export const unchangedJob: RunJob = JOB;
