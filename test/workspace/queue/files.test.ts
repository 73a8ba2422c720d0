import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect } from '../../../src/workspace/queue/connection.js';
import { bundleLowrank, lowrank, outcomeOf, type Outcome } from '../../support/cli.js';
import { noRedis, noTls, startRedis, type RedisServer } from '../../support/redis.js';
import { countingRows, toJsonl, writeTinyModel } from '../../support/tiny-model.js';

const ABLATION = `
base:
  model: ./model
  device: wasm
  data: { train: train.jsonl, validation: validation.jsonl }
  training: { output_dir: unused, max_steps: 2, per_device_train_batch_size: 2, logging_steps: 1 }
grid: { r: [1, 2] }
retain: retain.jsonl
output_dir: out
`;
const ROWS = ['train.jsonl', 'validation.jsonl', 'retain.jsonl'];

let folder: string;
let bundle: Awaited<ReturnType<typeof bundleLowrank>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-queued-files-'));
  await writeTinyModel(join(folder, 'model'));
  for (const [i, name] of ROWS.entries()) await writeFile(join(folder, name), toJsonl(countingRows(4, i)));
  await writeFile(join(folder, 'ablation.yaml'), ABLATION);
  bundle = await bundleLowrank();
});

afterAll(async () => {
  await bundle.remove();
  await rm(folder, { recursive: true, force: true });
});

function start(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  watch?: (stderr: string, child: ChildProcess) => void,
): Promise<Outcome> {
  const child = spawn(process.execPath, [bundle.main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LOWRANK_THREADS: '1', ...env },
  });
  return outcomeOf(child, watch);
}

const ablate = (out: string, ...flags: readonly string[]): string[] => [
  'ablate',
  join(folder, 'ablation.yaml'),
  '--output',
  join(folder, out),
  ...flags,
];
const leave = (stderr: string, child: ChildProcess): void =>
  void (stderr.includes('no worker is there yet') && child.kill('SIGINT'));

/** Moves files out of the reach of a worker, and back. */
async function without<T>(names: readonly string[], work: () => Promise<T>): Promise<T> {
  for (const name of names) await rename(join(folder, name), join(folder, `${name}.away`));
  try {
    return await work();
  } finally {
    for (const name of names) await rename(join(folder, `${name}.away`), join(folder, name));
  }
}

async function runs(out: string): Promise<Record<string, unknown>[]> {
  return (JSON.parse(await readFile(join(folder, out, 'ablation.json'), 'utf8')) as { runs: Record<string, unknown>[] })
    .runs;
}

describe.skipIf(noRedis !== undefined)(`files of queued runs${noRedis === undefined ? '' : ` (${noRedis})`}`, () => {
  let redis: RedisServer;

  beforeAll(async () => {
    redis = await startRedis();
  });

  afterAll(() => redis.stop());

  it('lie in Redis once, for workers that have none; a run that failed is made again when asked to', async () => {
    const local = await lowrank(...ablate('local', '--no-estimate'));
    expect(local.status, local.stderr).toBe(0);
    const queued = await start(ablate('out', '--queue', redis.url), {}, leave);
    expect(queued.status, queued.stderr).toBe(130);
    const client = await connect(redis.url);
    const keys = await client.keys('lowrank:file-*');
    expect(keys).toHaveLength(ROWS.length);
    for (const key of keys) expect(await client.ttl(key)).toBeGreaterThan(0);
    client.disconnect();

    // Nothing of it is there: models go by their paths.
    const worker = ['worker', '--queue', redis.url, '--drain'];
    const none = await without([...ROWS, 'model'], () => start(worker));
    expect(none.stderr).toMatch(/0 runs done, 2 failed/);
    const failed = await start(ablate('out', '--queue', redis.url));
    expect([failed.status, failed.stderr]).toEqual([
      1,
      expect.stringMatching(/2 of 2 runs failed \(--retry makes them again\):\n.*model/),
    ]);
    const kept = await start(ablate('out', '--queue', redis.url));
    expect(kept.stderr).toContain('2 of 2 runs failed');

    // Only the rows are missing.
    const again = await start(ablate('out', '--queue', redis.url, '--retry'), {}, leave);
    expect(again.status, again.stderr).toBe(130);
    const made = await without(ROWS, () => start(worker));
    expect(made.stderr).toMatch(/2 runs done, 0 failed/);
    const collected = await start(ablate('out', '--queue', redis.url, '--retry'));
    expect(collected.status, collected.stderr).toBe(0);
    const place = (out: string, json: unknown): unknown =>
      JSON.parse(JSON.stringify(json).replaceAll(join(folder, out), 'OUT'));
    expect(place('out', await runs('out'))).toEqual(place('local', await runs('local')));
  }, 240_000);

  it('do not make a job too big: one with a huge config is refused', async () => {
    const { status, stderr } = await lowrank(
      ...ablate('big', '--queue', redis.url, '--set', `data.template=${'x'.repeat(2 ** 21)}`),
    );
    expect([status, stderr]).toEqual([
      2,
      expect.stringMatching(/run r-1_seed-42 is too big for a queue: .* take 2 MiB, and at most 1 MiB go there/),
    ]);
  });
});

describe.skipIf(noTls !== undefined)(`a queue over TLS${noTls === undefined ? '' : ` (${noTls})`}`, () => {
  it('makes runs where the certificate is known, and says what is wrong where it is not', async () => {
    const redis = await startRedis({ tls: true });
    try {
      const stranger = await start(['worker', '--queue', redis.url, '--drain'], { NODE_EXTRA_CA_CERTS: '' });
      expect([stranger.status, stranger.stderr]).toEqual([
        1,
        expect.stringMatching(/no Redis at rediss:\/\/127\.0\.0\.1:\d+: self.signed certificate.*NODE_EXTRA_CA_CERTS/),
      ]);
      const known = { NODE_EXTRA_CA_CERTS: redis.certificate };
      let told = false;
      // Once: a second signal would end it at once.
      const end = (stderr: string, child: ChildProcess): void =>
        void (!told && stderr.split(': done').length > 2 && (told = child.kill('SIGTERM')));
      const [made, worker] = await Promise.all([
        start(ablate('tls', '--queue', redis.url), known),
        start(['worker', '--queue', redis.url], known, end),
      ]);
      expect(made.status, made.stderr).toBe(0);
      expect(worker.status, worker.stderr).toBe(143);
      expect(await runs('tls')).toHaveLength(2);
    } finally {
      await redis.stop();
    }
  }, 120_000);
});
