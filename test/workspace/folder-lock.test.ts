import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LOCK_FILE, lockFolder, requireUnlocked } from '../../src/workspace/folder-lock.js';
import { bundleLowrank, outcomeOf, type Outcome } from '../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

let folder: string;
let bundle: Awaited<ReturnType<typeof bundleLowrank>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-lock-'));
  bundle = await bundleLowrank();
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(16, 1)));
  await writeFile(
    join(folder, 'run.yaml'),
    'model: ./model\ndevice: wasm\ndata: { train: train.jsonl }\ntraining: { output_dir: out, learning_rate: 0.01, save_strategy: steps, save_steps: 5, logging_steps: 1 }\n',
  );
});

afterAll(async () => {
  await bundle.remove();
  await rm(folder, { recursive: true, force: true });
});

/** PID namespaces are made by root alone, or where the system lets users. */
const noUnshare =
  spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']).status === 0
    ? undefined
    : 'no unshare(1) for this user';

const fresh = (): Promise<string> => mkdtemp(join(folder, 'locked-'));

/** As a lock of this process has it. */
async function ownNamespace(): Promise<unknown> {
  const at = await fresh();
  const lock = await lockFolder(at);
  const { namespace } = JSON.parse(await readFile(join(at, LOCK_FILE), 'utf8')) as { namespace: unknown };
  lock.release();
  return namespace;
}

/** Leaves a lock of a process in a folder. */
async function leave(at: string, holder: Readonly<Record<string, unknown>>): Promise<void> {
  await writeFile(
    join(at, LOCK_FILE),
    JSON.stringify({
      pid: process.pid,
      host: hostname(),
      process_start: null,
      namespace: await ownNamespace(),
      since: '2026-01-01T00:00:00.000Z',
      ...holder,
    }),
  );
}

/** A process of its own that does nothing. */
async function withProcess<T>(use: (pid: number) => Promise<T>): Promise<T> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  try {
    return await use(child.pid as number);
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

describe('a lock', () => {
  it('is refused to others while its process lives, and names it', async () => {
    const at = await fresh();
    await withProcess(async (pid) => {
      await leave(at, { pid });
      const message = `training.output_dir: ${at} is being written to by process ${pid} since 2026-01-01T00:00:00.000Z: wait for it, or stop it`;
      await expect(requireUnlocked(at)).rejects.toThrow(message);
      await expect(lockFolder(at)).rejects.toThrow(message);
      expect(await readdir(at)).toEqual([LOCK_FILE]);
    });
  });

  it('of a process that is gone is taken over, also where its number is another process’s by now', async () => {
    const at = await fresh();
    await leave(at, { pid: await withProcess((pid) => Promise.resolve(pid)) });
    (await lockFolder(at)).release();
    if (process.platform === 'linux') {
      await withProcess(async (pid) => {
        await leave(at, { pid, process_start: '1' });
        (await lockFolder(at)).release();
      });
    }
    await writeFile(join(at, LOCK_FILE), '{"pid":');
    (await lockFolder(at)).release();
    expect(await readdir(at)).toEqual([]);
  });

  it('of another machine is taken over when it has been silent for long', async () => {
    const at = await fresh();
    await leave(at, { host: 'elsewhere', pid: 7 });
    await expect(lockFolder(at)).rejects.toThrow(
      `process 7 on elsewhere since 2026-01-01T00:00:00.000Z: wait for it; after 10 minutes without a sign of it, or when ${LOCK_FILE} is removed`,
    );
    const then = new Date(Date.now() - 3_600_000);
    await utimes(join(at, LOCK_FILE), then, then);
    (await lockFolder(at)).release();
    expect(await readdir(at)).toEqual([]);
  });

  it('of another container with this host name is taken over when it has been silent for long, whatever its number is here', async () => {
    const at = await fresh();
    const gone = await withProcess((pid) => Promise.resolve(pid));
    // No such process here, and one of another name; there both may live.
    for (const pid of [gone, process.pid]) {
      await leave(at, { pid, namespace: 'another boot pid:[1]' });
      await expect(lockFolder(at)).rejects.toThrow(
        `process ${pid} of another container or machine, called ${hostname()} too, since 2026-01-01T00:00:00.000Z: wait for it; after 10 minutes`,
      );
    }
    const then = new Date(Date.now() - 3_600_000);
    await utimes(join(at, LOCK_FILE), then, then);
    (await lockFolder(at)).release();
    expect(await readdir(at)).toEqual([]);
  });

  it.skipIf(noUnshare !== undefined)('is respected from another PID namespace', async () => {
    const at = join(folder, 'shared');
    await mkdir(at);
    const lock = await lockFolder(at);
    const args = [
      '--pid',
      '--fork',
      '--mount-proc',
      process.execPath,
      bundle.main,
      'train',
      join(folder, 'run.yaml'),
      '--set',
      `training.output_dir=${at}`,
      '--set',
      'training.max_steps=1',
    ];
    const contained = (): Promise<Outcome> => outcomeOf(spawn('unshare', args, { stdio: ['ignore', 'pipe', 'pipe'] }));
    const refused = await contained();
    expect([refused.status, refused.stderr]).toEqual([
      2,
      expect.stringContaining(`by process ${process.pid} of another container or machine`),
    ]);
    lock.release();
    const made = await contained();
    expect(made.status, made.stderr).toBe(0);
  });

  it('that is another’s by now stays when it is released', async () => {
    const at = await fresh();
    const lock = await lockFolder(at);
    await leave(at, { pid: 1 });
    lock.release();
    expect(JSON.parse(await readFile(join(at, LOCK_FILE), 'utf8'))).toMatchObject({ pid: 1 });
  });
});

/** A run of a process of its own. */
function train(out: string, watch?: Parameters<typeof outcomeOf>[1], ...flags: string[]): Promise<Outcome> {
  const args = ['train', join(folder, 'run.yaml'), '--set', `training.output_dir=${out}`, ...flags];
  return outcomeOf(
    spawn(process.execPath, [bundle.main, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LOWRANK_THREADS: '1' },
    }),
    watch,
  );
}

const ENDLESS = ['--set', 'training.max_steps=1000000', '--set', 'training.lr_scheduler_type=constant'];

describe('two runs on one folder', () => {
  it('do not meet: the later one is refused, and a stop, an error and a kill leave nothing in the way', async () => {
    const out = join(folder, 'out');
    const lock = join(out, LOCK_FILE);
    let second: Promise<Outcome> | undefined;
    const first = await train(
      out,
      (text, child) => {
        if (second !== undefined || !text.includes('step 5 ')) return;
        expect(existsSync(lock)).toBe(true);
        second = train(out, undefined, '--resume').finally(() => child.kill('SIGTERM'));
      },
      ...ENDLESS,
    );
    expect(await second).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringMatching(
        /^lowrank: training\.output_dir: .* is being written to by process \d+ since /,
      ) as string,
    });
    expect(first.status, first.stderr).toBe(143);
    expect(existsSync(lock)).toBe(false);

    const atOnce = await train(
      out,
      (text, child) => {
        if (text.includes('stopping after')) child.kill('SIGTERM');
        else if (text.includes('step ')) child.kill('SIGINT');
      },
      '--resume',
      ...ENDLESS,
    );
    expect([130, 143], atOnce.stderr).toContain(atOnce.status);
    expect(existsSync(lock)).toBe(false);

    const killed = await train(
      out,
      (text, child) => void (text.includes('checkpoint-') && text.includes('step ') && child.kill('SIGKILL')),
      '--resume',
      ...ENDLESS,
    );
    expect(killed.status, killed.stderr).toBe(null);
    expect(existsSync(lock)).toBe(true);

    const failed = await train(
      out,
      undefined,
      '--resume',
      ...ENDLESS,
      '--set',
      'training.learning_rate=1e30',
      '--force',
    );
    expect(failed.status, failed.stderr).toBe(5);
    expect(existsSync(lock)).toBe(false);

    const rest = await train(
      out,
      undefined,
      '--set',
      'training.overwrite_output_dir=true',
      '--set',
      'training.max_steps=2',
    );
    expect(rest.status, rest.stderr).toBe(0);
    expect((await readdir(out)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('that begin at the same moment: one of them makes its steps', async () => {
    const out = join(folder, 'same');
    const outcomes = await Promise.all(
      Array.from({ length: 3 }, () => train(out, undefined, '--set', 'training.max_steps=20')),
    );
    const [done, refused] = [
      outcomes.filter(({ status }) => status === 0),
      outcomes.filter(({ status }) => status === 2),
    ];
    expect([done.length, refused.length], outcomes.map(({ stderr }) => stderr).join('\n')).toEqual([1, 2]);
    for (const { stderr } of refused)
      expect(stderr).toMatch(
        /is being written to by process|another process has written to it while this one was starting|holds a run already|holds the log of a run/,
      );
    const lines = (await readFile(join(out, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { step: number }).step)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
  });
});
