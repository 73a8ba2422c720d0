import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { RunStore } from '../../../src/ablation/store.js';
import { connect } from '../../../src/workspace/queue/connection.js';
import type { RunJob } from '../../../src/workspace/queue/job.js';
import { claimRun, LostRunError, readLog } from '../../../src/workspace/queue/store.js';
import { bundleLowrank, lowrank, outcomeOf, type Outcome } from '../../support/cli.js';
import { noRedis, startRedis } from '../../support/redis.js';
import { countingRows, toJsonl, writeTinyModel } from '../../support/tiny-model.js';

/** Long enough to be killed in the middle, with a checkpoint every few steps. */
const STEPS = 50;
const ABLATION = `
base:
  model: ./model
  device: wasm
  data: { train: train.jsonl, validation: validation.jsonl }
  adapter: { r: 2, lora_dropout: 0.1 }
  training: { output_dir: unused, max_steps: ${STEPS}, per_device_train_batch_size: 2, learning_rate: 0.01, logging_steps: 5,
              eval_steps: 30, save_strategy: steps, save_steps: 2 }
runs: [{ r: 1 }, { r: 2, training.max_steps: 6 }, { r: 3, training.max_steps: 4, learning_rate: 1.0e+30 }, { r: 4, training.max_steps: 6 }]
retain: retain.jsonl
output_dir: out
`;

describe.skipIf(noRedis !== undefined)(
  `an ablation over several machines${noRedis === undefined ? '' : ` (${noRedis})`}`,
  () => {
    let folder: string;
    let bundle: Awaited<ReturnType<typeof bundleLowrank>>;
    let redis: Awaited<ReturnType<typeof startRedis>>;
    const processes = new Set<ChildProcess>();

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'lowrank-queue-'));
      await writeTinyModel(join(folder, 'model'));
      for (const [name, rows, seed] of [
        ['train', 30, 1],
        ['validation', 4, 2],
        ['retain', 4, 3],
      ] as const)
        await writeFile(join(folder, `${name}.jsonl`), toJsonl(countingRows(rows, seed)));
      await writeFile(join(folder, 'ablation.yaml'), ABLATION);
      bundle = await bundleLowrank();
      redis = await startRedis();
    });

    afterEach(() => {
      for (const child of processes) child.kill('SIGKILL');
      processes.clear();
    });

    afterAll(async () => {
      await redis.stop();
      await bundle.remove();
      await rm(folder, { recursive: true, force: true });
    });

    function start(args: readonly string[], watch?: (stderr: string, child: ChildProcess) => void): Promise<Outcome> {
      const child = spawn(process.execPath, [bundle.main, ...args], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, LOWRANK_THREADS: '1' },
      });
      processes.add(child);
      return outcomeOf(child, watch);
    }

    const ablate = (args: readonly string[], watch?: (stderr: string, child: ChildProcess) => void): Promise<Outcome> =>
      start(['ablate', join(folder, 'ablation.yaml'), '--output', join(folder, 'out'), ...args], watch);
    const worker = (
      name: string,
      args: readonly string[],
      watch?: (stderr: string, child: ChildProcess) => void,
    ): Promise<Outcome> => start(['worker', '--queue', redis.url, '--lock', '2', '--name', name, ...args], watch);

    /** Waits for a checkpoint of a step, or a later one. */
    async function checkpointOf(least: number): Promise<number> {
      const client = await connect(redis.url);
      try {
        const deadline = performance.now() + 120_000;
        while (performance.now() < deadline) {
          for (const key of await client.keys('lowrank:*:checkpoint')) {
            const { body } = JSON.parse((await client.hget(key, '/seal')) ?? '{"body":"{}"}') as { body: string };
            const { step = 0 } = JSON.parse(body) as { step?: number };
            if (step >= least) return step;
          }
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
        throw new Error(`no checkpoint of step ${least} within two minutes`);
      } finally {
        client.disconnect();
      }
    }

    /** What an ablation leaves behind, without times. */
    async function results(): Promise<unknown> {
      const out = join(folder, 'out');
      const { timings, ...ablation } = JSON.parse(await readFile(join(out, 'ablation.json'), 'utf8')) as Record<
        string,
        unknown
      >;
      expect(Object.keys(timings as object)).toHaveLength(3);
      const runs = (await readdir(join(out, 'runs'), { withFileTypes: true }))
        .flatMap((entry) => (entry.isDirectory() && !entry.name.startsWith('r-3') ? [entry.name] : []))
        .sort();
      expect(runs).toHaveLength(3);
      const adapters = await Promise.all(
        runs.map((run) => readFile(join(out, 'runs', run, 'adapter_model.safetensors'), 'hex')),
      );
      const logs = await Promise.all(runs.map((run) => readFile(join(out, 'runs', run, 'metrics.jsonl'), 'utf8')));
      const lines = logs.map((log) =>
        log
          .trimEnd()
          .split('\n')
          .map((line) => ({ ...(JSON.parse(line) as object), tokens_per_second: 0 })),
      );
      return { ablation, runs, adapters, lines, subspace: await readFile(join(out, 'subspace.json'), 'utf8') };
    }

    it('comes to what one machine comes to, although the collector leaves, a worker is killed in the middle of a run and another is told to end', async () => {
      const local = await ablate(['--no-estimate', '--jobs', '1']);
      expect(local.status, local.stderr).toBe(1);
      const expected = await results();
      await rm(join(folder, 'out'), { recursive: true });

      // The collector queues the runs and leaves.
      const left = await ablate(
        ['--queue', redis.url],
        (stderr, child) => void (stderr.includes('no worker is there yet') && child.kill('SIGINT')),
      );
      expect(left.status, left.stderr).toBe(130);
      expect(left.stderr).toContain('leaving; the workers go on');

      // A worker dies when there is a checkpoint to go on from.
      const first = worker('first', []);
      await checkpointOf(4);
      for (const child of processes) if (child.spawnargs.includes('first')) child.kill('SIGKILL');
      const killed = await first;
      expect(killed.status).toBe(null);
      const reached = await checkpointOf(4);

      // The next is told to end: it writes a checkpoint, and the run goes back at once.
      const second = worker('second', []);
      await checkpointOf(reached + 8);
      for (const child of processes) if (child.spawnargs.includes('second')) child.kill('SIGTERM');
      const ended = await second;
      expect(ended.status, ended.stderr).toBe(143);
      expect(ended.stderr).toContain('back into the queue');
      // The third begins when there is somebody to whom it can tell so.
      let third: ReturnType<typeof worker> | undefined;
      const collected = await ablate(
        ['--queue', redis.url],
        (stderr) => void (stderr.includes('no worker is there yet') && (third ??= worker('third', ['--drain']))),
      );
      const drained = await (third as ReturnType<typeof worker>);
      expect(drained.status, drained.stderr).toBe(0);
      const told = [killed, ended, drained].map(({ stderr }) => stderr).join('');
      expect([...told.matchAll(/: done$/gm)]).toHaveLength(3);
      expect([...told.matchAll(/: failed: /g)]).toHaveLength(1);
      expect(collected.status, collected.stderr).toBe(1);
      expect(collected.stderr).toContain('1 of 4 runs failed');
      const resumed = Number(/third goes on after step (\d+)/.exec(collected.stderr)?.[1]);
      expect(resumed).toBeGreaterThanOrEqual(reached + 8);
      expect(resumed).toBeLessThan(STEPS);
      expect(await results()).toEqual(expected);

      // Nothing is made again, and nobody is asked.
      const again = await ablate(['--queue', 'redis://127.0.0.1:1']);
      expect(again.stderr).toContain('1 of 4 runs failed');
      expect(again.stderr).not.toContain('begins');
      expect(await results()).toEqual(expected);
    }, 240_000);

    it('keeps what only the last owner of a run writes', async () => {
      const client = await connect(redis.url);
      const job = { run: { id: 'a' } } as unknown as RunJob;
      const begin = async (owner: string): Promise<RunStore> =>
        (await claimRun(client, 'run-test', owner, job, () => undefined)).open(job.run);
      try {
        const before = await begin('one');
        await before.begin(0);
        for (const step of [1, 2, 3]) await before.append({ step });
        await before.save(
          { file: Uint8Array.of(0, 255, 1) },
          { name: 'checkpoint-2', step: 2, totalSteps: 9, best: undefined },
        );
        const after = await begin('two');
        await expect(before.append({ step: 4 })).rejects.toThrow(LostRunError);
        const file = await after.resume?.open('file');
        expect(await file?.read(0, 3)).toEqual(Buffer.from([0, 255, 1]));
        expect(await after.resume?.list()).toEqual(['file']);
        await after.begin(2);
        expect(await readLog(client, 'run-test')).toEqual([{ step: 1 }, { step: 2 }]);
      } finally {
        client.disconnect();
      }
    });

    it('says what is wrong with an address', async () => {
      for (const verb of [['worker'], ['ablate', join(folder, 'ablation.yaml'), '--output', join(folder, 'none')]]) {
        expect(await lowrank(...verb, '--queue', 'localhost:6379')).toMatchObject({
          status: 2,
          stderr: expect.stringContaining('redis://') as string,
        });
        expect(await lowrank(...verb, '--queue', 'redis://:secret@127.0.0.1:1')).toMatchObject({
          status: 1,
          stderr: expect.stringContaining('no Redis at redis://:***@127.0.0.1:1: connect ECONNREFUSED') as string,
        });
      }
    });
  },
);
