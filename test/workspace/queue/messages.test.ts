import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/load.js';
import { baselineKey } from '../../../src/ablation/baselines.js';
import type { AblationRun } from '../../../src/ablation/runs.js';
import { shownUrl, withoutSecrets } from '../../../src/workspace/queue/connection.js';
import { jobId, type RunJob } from '../../../src/workspace/queue/job.js';
import {
  parseCheckpoint,
  parseJob,
  parseJobResult,
  parseLogLine,
  parseProgress,
} from '../../../src/workspace/queue/messages.js';
import { queueSecret, seal, unseal } from '../../../src/workspace/queue/signature.js';
import { ConfigError, FormatError } from '../../../src/errors.js';

const HASH = 'a'.repeat(64);
const config = loadConfig(
  '{model: ./model, data: {train: rows.jsonl, validation: rows.jsonl}, training: {output_dir: out}}',
  'run.yaml',
);
const job: RunJob = {
  run: { id: 'r-1_seed-42', settings: { r: 1 }, seed: 42, config },
  evaluation: { tasks: undefined, tasksData: undefined, retain: ['retain.jsonl'], hash: HASH },
  files: { 'base model': { 'config.json': HASH } },
  sent: [{ path: '/data/rows.jsonl', sha256: HASH, bytes: 10 }],
};
const baseline = { metrics: { loss: 1 }, evaluation: HASH, seconds: 1 };
const result = {
  ...{
    format: 1,
    id: job.run.id,
    settings: job.run.settings,
    seed: 42,
    config: JSON.parse(JSON.stringify(config)) as object,
    files: job.files,
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
    metrics: {},
    forgetting: {},
    answers: [],
  },
  ...{ trainable_parameters: 1, adapter_bytes: 1, losses: [], validation: [] },
};
const whole = {
  ...{ result, timings: { seconds: 1, tokens_per_second: 1, evaluation_seconds: 1 } },
  ...{
    baseline: [baselineKey(job.run as AblationRun), baseline],
    files: { 'adapter_model.safetensors': { sha256: HASH, bytes: 10 } },
    log: HASH,
  },
};

/** As it comes, under the id that belongs to it. */
function read(change: (copy: Record<string, never>) => void): RunJob {
  const copy = JSON.parse(JSON.stringify(job)) as RunJob;
  change(copy as unknown as Record<string, never>);
  return parseJob(JSON.stringify(copy), jobId(copy));
}

function collect(change: (copy: Record<string, never>) => void): unknown {
  const copy = JSON.parse(JSON.stringify(whole)) as Record<string, never>;
  change(copy);
  return parseJobResult(JSON.stringify(copy), 'run-x', job);
}

const put = (object: Record<string, unknown>, path: string, value: unknown): void => {
  const keys = path.split('/');
  const last = keys.pop() as string;
  (keys.reduce((at, key) => at[key] as Record<string, unknown>, object) as Record<string, unknown>)[last] = value;
};

const ESCAPES = ['../x', '..', '/etc/x', 'a/../../x', 'a\\b', 'x\0', '.ssh', '', 'a/b', '-rf'];

describe('messages of a queue', () => {
  it('are read as they were written', () => {
    expect(read(() => undefined)).toEqual(JSON.parse(JSON.stringify(job)));
    expect(collect(() => undefined)).toMatchObject({
      files: whole.files,
      baseline: whole.baseline,
      timings: whole.timings,
    });
  });

  it('are refused where a name or a hash would lead elsewhere', () => {
    for (const bad of [...ESCAPES, HASH.toUpperCase(), HASH.slice(1), `${HASH}0`, `../${HASH}`]) {
      expect(() => read((copy) => put(copy, 'sent/0/sha256', bad)), bad).toThrow(/sent\.0\.sha256: is no SHA-256/);
      expect(() => read((copy) => put(copy, 'evaluation/hash', bad === '' ? 'x' : bad)), bad).toThrow(FormatError);
    }
    for (const bad of ESCAPES) {
      expect(() => read((copy) => put(copy, 'run/id', bad)), bad).toThrow(/run\.id: is no plain file name/);
      expect(() => collect((copy) => put(copy, 'baseline', [bad, baseline])), bad).toThrow(
        /metrics of another base model/,
      );
      expect(() => collect((copy) => (copy['files'] = { [bad]: { sha256: HASH, bytes: 1 } } as never)), bad).toThrow(
        FormatError,
      );
      expect(
        () => parseCheckpoint(JSON.stringify({ step: 1, files: { [bad]: { sha256: HASH, bytes: 1 } } }), 'run-x'),
        bad,
      ).toThrow(FormatError);
    }
    for (const bad of ['result.json', 'metrics.jsonl', 'timings.json', 'checkpoint-3'])
      expect(() => collect((copy) => (copy['files'] = { [bad]: { sha256: HASH, bytes: 1 } } as never))).toThrow(
        /none of a result/,
      );
  });

  it('are refused where they are too big, of another run, or not as they should be', () => {
    expect(() => read((copy) => put(copy, 'sent/0/bytes', 2 ** 40))).toThrow(FormatError);
    expect(() => read((copy) => put(copy, 'run/config/training/output_dir', 7))).toThrow(
      /run\.config\.training\.output_dir/,
    );
    expect(() => read((copy) => put(copy, 'more', 1))).toThrow(FormatError);
    expect(() => parseJob(JSON.stringify(job), 'run-00000000000000000000000000000000')).toThrow(/is another run/);
    expect(() => parseJob('x'.repeat(2 ** 21), 'run-x')).toThrow(/at most 1048576/);
    for (const bad of ['', '[]', 'null', '{"run":', '{}', '[[[[[['])
      expect(() => parseJob(bad, 'run-x'), bad).toThrow(FormatError);
    expect(() => collect((copy) => put(copy, 'result/id', 'r-2_seed-42'))).toThrow(/that of another run/);
    expect(() => collect((copy) => put(copy, 'result/config/model', '/other'))).toThrow(/that of another run/);
    expect(() =>
      collect(
        (copy) => (copy['files'] = { a: { sha256: HASH, bytes: 2 ** 28 }, b: { sha256: HASH, bytes: 1 } } as never),
      ),
    ).toThrow(/at most/);
    expect(() => parseLogLine('{"a":{}}', 'run-x')).toThrow(FormatError);
    expect(parseProgress({ worker: 'a', totalSteps: 1, doneSteps: 0, step: { step: 1, loss: 2 } })).toBeDefined();
    for (const bad of [
      null,
      1,
      'x',
      {},
      { worker: 'a'.repeat(300), totalSteps: 1, doneSteps: 0 },
      { worker: 'a', totalSteps: 1, doneSteps: 0, step: { step: 'x' } },
    ])
      expect(parseProgress(bad)).toBeUndefined();
  });
});

describe('signatures', () => {
  const secret = 'correct horse battery';

  it('belong to a message, its kind, its id and its secret', () => {
    const message = seal('job', 'run-1', 'body', secret);
    expect(unseal('job', 'run-1', JSON.parse(JSON.stringify(message)), secret)).toBe('body');
    expect(seal('job', 'run-1', 'body', secret).signature).not.toBe(message.signature);
    const changed = [
      { ...message, body: 'other' },
      { ...message, nonce: '0'.repeat(32) },
      { ...message, signature: '0'.repeat(64) },
    ];
    for (const each of changed)
      expect(() => unseal('job', 'run-1', each, secret)).toThrow(
        /signed with another secret than LOWRANK_QUEUE_SECRET, or was changed/,
      );
    expect(() => unseal('result', 'run-1', message, secret)).toThrow(FormatError);
    expect(() => unseal('job', 'run-2', message, secret)).toThrow(FormatError);
    expect(() => unseal('job', 'run-1', message, `${secret}!`)).toThrow(FormatError);
    expect(() => unseal('job', 'run-1', seal('job', 'run-1', 'body', undefined), secret)).toThrow(/is not signed/);
    expect(() => unseal('job', 'run-1', message, undefined)).toThrow(/LOWRANK_QUEUE_SECRET is not set here/);
    for (const bad of [
      null,
      1,
      {},
      { body: 1 },
      { body: 'x', nonce: '../' },
      { ...message, signature: 'é'.repeat(64) },
    ])
      expect(() => unseal('job', 'run-1', bad, secret)).toThrow(FormatError);
  });

  it('want a secret of some length', () => {
    expect(queueSecret({})).toBeUndefined();
    expect(queueSecret({ LOWRANK_QUEUE_SECRET: secret })).toBe(secret);
    expect(() => queueSecret({ LOWRANK_QUEUE_SECRET: 'short' })).toThrow(ConfigError);
  });
});

describe('the address of a queue', () => {
  it('is shown without its password, however it is written', () => {
    const addresses = [
      'redis://:s3cr%21t@host:1',
      'redis://user:s3cr%21t@host',
      'http://:s3cr%21t@host',
      'redis:/s3cr%21t@host',
      ':s3cr%21t@host:6379',
      'redis://a:s3cr%21t@b@host:x',
      'redis://host?password=s3cr%21t',
      'host:1?password=s3cr%21t',
    ];
    for (const address of addresses) expect(shownUrl(address), address).not.toContain('s3cr');
    expect(shownUrl('redis://user:s3cr%21t@host:1/2')).toBe('redis://user:***@host:1/2');
    expect(shownUrl('localhost:6379')).toBe('localhost:6379');
    expect(withoutSecrets('WRONGPASS s3cr!t and s3cr%21t', 'redis://:s3cr%21t@host')).toBe('WRONGPASS *** and ***');
  });
});
