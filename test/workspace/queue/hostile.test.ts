import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Queue } from 'bullmq';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connect, connectionOptions } from '../../../src/workspace/queue/connection.js';
import { jobId, QUEUE, runKeys, type RunJob } from '../../../src/workspace/queue/job.js';
import { seal, type Sealed } from '../../../src/workspace/queue/signature.js';
import { bundleLowrank, outcomeOf, type Outcome } from '../../support/cli.js';
import { killChildren } from '../../support/child-processes.js';
import { noRedis, startRedis } from '../../support/redis.js';
import { countingRows, toJsonl, writeTinyModel } from '../../support/tiny-model.js';

const ABLATION = `
base:
  model: ./model
  device: wasm
  data: { train: train.jsonl, validation: validation.jsonl }
  training: { output_dir: unused, max_steps: 2, per_device_train_batch_size: 2, logging_steps: 1 }
runs: [{ r: 1 }]
output_dir: out
`;
const SECRET = { LOWRANK_QUEUE_SECRET: 'a secret of some length' };
const ID = 'r-1_seed-42';

describe.skipIf(noRedis !== undefined)(
  `a queue that others write to${noRedis === undefined ? '' : ` (${noRedis})`}`,
  () => {
    let folder: string;
    let bundle: Awaited<ReturnType<typeof bundleLowrank>>;
    let redis: Awaited<ReturnType<typeof startRedis>>;
    let queue: Queue<Sealed>;
    const processes = new Set<ChildProcess>();

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'lowrank-hostile-'));
      await writeTinyModel(join(folder, 'model'));
      for (const [i, name] of ['train.jsonl', 'validation.jsonl'].entries())
        await writeFile(join(folder, name), toJsonl(countingRows(4, i)));
      await writeFile(join(folder, 'ablation.yaml'), ABLATION);
      await mkdir(join(folder, 'elsewhere'));
      bundle = await bundleLowrank();
      redis = await startRedis();
      queue = new Queue<Sealed>(QUEUE, { connection: connectionOptions(redis.url) });
    });

    afterEach(async () => {
      for (const child of processes) child.kill('SIGKILL');
      processes.clear();
      const client = await connect(redis.url);
      await client.flushall();
      client.disconnect();
      await rm(join(folder, 'out'), { recursive: true, force: true });
    });

    afterAll(async () => {
      await queue.close();
      await redis.stop();
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
        detached: true,
      });
      processes.add(child);
      return outcomeOf(child, watch);
    }

    const ablate = (
      flags: readonly string[] = [],
      env: NodeJS.ProcessEnv = {},
      watch?: (stderr: string, child: ChildProcess) => void,
    ): Promise<Outcome> =>
      start(
        ['ablate', join(folder, 'ablation.yaml'), '--output', join(folder, 'out'), '--queue', redis.url, ...flags],
        env,
        watch,
      );
    const worker = (
      flags: readonly string[] = ['--drain'],
      env: NodeJS.ProcessEnv = {},
      watch?: (stderr: string, child: ChildProcess) => void,
    ): Promise<Outcome> => start(['worker', '--queue', redis.url, '--name', 'w', '--lock', '5', ...flags], env, watch);
    let left = false;
    const leave = (stderr: string, child: ChildProcess): void =>
      void (!left && stderr.includes('no worker is there yet') && (left = child.kill('SIGINT')));

    /** Queues the run and leaves. @returns the job as it is in the queue. */
    async function queued(env: NodeJS.ProcessEnv = {}): Promise<{ id: string; sealed: Sealed; job: RunJob }> {
      left = false;
      const { status, stderr } = await ablate([], env, leave);
      expect(status, stderr).toBe(130);
      const [found] = await queue.getJobs();
      const sealed = found?.data as Sealed;
      return { id: found?.id as string, sealed, job: JSON.parse(sealed.body) as RunJob };
    }

    it('writes no file of a worker that a job names, and says what is wrong with the job', async () => {
      const { job } = await queued();
      await queue.drain();
      const bad = {
        ...job,
        sent: [{ path: '/x/rows.jsonl', sha256: `../../../../../..${folder}/elsewhere`, bytes: 4 }],
      };
      await queue.add('evil \x1b[2J', seal('job', jobId(bad), JSON.stringify(bad), undefined), { jobId: jobId(bad) });
      await queue.add('plain', { run: { id: '../../x' } } as unknown as Sealed, { jobId: 'run-0' });
      const made = await worker();
      expect(made.stderr).toContain('sent.0.sha256: is no SHA-256');
      expect(made.stderr).toContain('is no message of this version');
      expect(made.stderr).toContain('0 runs done, 2 failed');
      expect(made.stderr).not.toContain('\x1b');
      expect(await readdir(join(folder, 'elsewhere'))).toEqual([]);
    }, 120_000);

    it('reads nothing outside of the folders that a worker allows', async () => {
      await queued();
      const made = await worker(['--drain', '--folders', join(folder, 'elsewhere')]);
      expect(made.stderr).toContain(
        `reads nothing outside of ${join(folder, 'elsewhere')} (--folders):\nmodel: ${join(folder, 'model')}`,
      );
      const allowed = await ablate(
        ['--retry'],
        {},
        (stderr, child) => void (left && stderr.includes('no worker') && ((left = false), child.kill('SIGINT'))),
      );
      expect(allowed.status, allowed.stderr).not.toBe(70);
      expect((await worker(['--drain', '--folders', join(folder, 'model')])).stderr).toContain('1 runs done, 0 failed');
    }, 120_000);

    it('takes no result whose files lead elsewhere, and none that is not the one of the run', async () => {
      const { id } = await queued();
      expect((await worker()).stderr).toContain('1 runs done, 0 failed');
      const client = await connect(redis.url);
      const keys = runKeys(id);
      const { body } = JSON.parse((await client.get(keys.result)) as string) as Sealed;
      const result = JSON.parse(body) as { files: Record<string, unknown> };
      const forge = async (change: object): Promise<Outcome> => {
        await client.set(
          keys.result,
          JSON.stringify(seal('result', id, JSON.stringify({ ...result, ...change }), undefined)),
        );
        await rm(join(folder, 'out'), { recursive: true, force: true });
        return ablate();
      };
      const evil = { '../../../elsewhere/evil': { sha256: 'a'.repeat(64), bytes: 1 } };
      expect((await forge({ files: { ...result.files, ...evil } })).stderr).toContain('1 of 1 runs failed');
      expect(
        (await forge({ baseline: ['../../elsewhere/evil', { metrics: {}, evaluation: '', seconds: 1 }] })).stderr,
      ).toContain('metrics of another base model');
      await client.hset(keys.files, 'adapter_config.json', '{"other": true}');
      expect((await forge({})).stderr).toContain('adapter_config.json in the queue is not what the run wrote');
      expect(readdirSync(join(folder, 'elsewhere'))).toEqual([]);
      expect(existsSync(join(folder, 'out/runs', ID, 'adapter_model.safetensors'))).toBe(false);
      client.disconnect();
      // What was refused is made again when asked to.
      const [again, made] = await Promise.all([ablate(['--retry']), worker(['--once'])]);
      expect(again.status, again.stderr + made.stderr).toBe(0);
      expect(existsSync(join(folder, 'out/runs', ID, 'adapter_model.safetensors'))).toBe(true);
    }, 240_000);

    it('with a secret takes only what is signed with it, on both sides', async () => {
      await queued();
      expect((await worker(['--drain'], SECRET)).stderr).toMatch(/is not signed, and LOWRANK_QUEUE_SECRET asks for it/);
      await queue.obliterate({ force: true });
      const { id } = await queued(SECRET);
      expect((await worker()).stderr).toContain('LOWRANK_QUEUE_SECRET is not set here');
      await queue.obliterate({ force: true });
      await queued(SECRET);
      expect((await worker(['--drain'], SECRET)).stderr).toContain('1 runs done, 0 failed');
      const client = await connect(redis.url);
      const genuine = (await client.get(runKeys(id).result)) as string;
      const { body } = JSON.parse(genuine) as Sealed;
      await client.set(runKeys(id).result, JSON.stringify(seal('result', id, body, undefined)));
      expect((await ablate([], SECRET)).stderr).toContain('is not signed');
      await client.set(runKeys(id).result, genuine);
      client.disconnect();
      await rm(join(folder, 'out'), { recursive: true, force: true });
      const taken = await ablate([], SECRET);
      expect(taken.status, taken.stderr).toBe(0);
    }, 240_000);

    it('puts a run back when Ctrl-C comes to the whole group while its process starts, and another worker makes it', async () => {
      await queued();
      let told = false;
      // As a terminal does it: to every process of the group.
      const stopped = await worker(
        ['--drain'],
        {},
        (stderr, child) =>
          void (!told && stderr.includes(': begins') && (told = process.kill(-(child.pid as number), 'SIGINT'))),
      );
      expect([stopped.status, stopped.stderr]).toEqual([130, expect.stringContaining('back into the queue')]);
      expect((await worker()).stderr).toContain('1 runs done, 0 failed');
    }, 120_000);

    it('makes a run again whose process the system has killed, and reports one that it kills every time', async () => {
      await queued();
      let kills = 0;
      const killing =
        (most: number) =>
        (stderr: string, child: ChildProcess): void => {
          const begun = stderr.split(': begins').length - 1;
          if (begun > kills && kills < most) {
            kills++;
            killChildren(child);
          }
        };
      const survived = await worker(['--drain'], {}, killing(2));
      expect(survived.stderr).toContain(
        'ended with SIGKILL (most often the system has too little memory); once more, from its last checkpoint (2 of 3)',
      );
      expect(survived.stderr).toContain('1 runs done, 0 failed');
      await queue.obliterate({ force: true });
      const client = await connect(redis.url);
      await client.flushall();
      client.disconnect();
      await queued();
      kills = 0;
      const given = await worker(['--drain'], {}, killing(Infinity));
      expect(given.stderr).toContain(
        'failed: on w the process of the run was ended 3 times, at last with SIGKILL (most often the system has too little memory)',
      );
      expect(given.stderr).toContain('0 runs done, 1 failed');
    }, 240_000);

    it.skipIf(process.platform !== 'linux')(
      'shows no password, not in the arguments of its processes either',
      async () => {
        const url = redis.url.replace('redis://', 'redis://:hunter2@');
        let seen = '';
        let told = false;
        const { stderr } = await start(['worker', '--queue', url, '--name', 'w'], {}, (text, child) => {
          if (told || !text.includes('\n')) return;
          seen = readFileSync(`/proc/${child.pid}/cmdline`, 'utf8');
          told = child.kill('SIGTERM');
        });
        expect(stderr + seen).not.toContain('hunter2');
        expect(seen).toContain('lowrank worker');
      },
      60_000,
    );
  },
);
