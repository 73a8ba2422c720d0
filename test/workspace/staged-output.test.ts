import { spawn } from 'node:child_process';
import { watch } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stageOutput } from '../../src/workspace/staged-output.js';
import { LOCK_FILE, lockFolder } from '../../src/workspace/folder-lock.js';
import { bundleLowrank, lowrank, outcomeOf, type Outcome } from '../support/cli.js';
import { writeTinyModel } from '../support/tiny-model.js';

let folder: string;
let bundle: Awaited<ReturnType<typeof bundleLowrank>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-staged-'));
  await writeTinyModel(join(folder, 'model'));
  bundle = await bundleLowrank();
});

afterAll(async () => {
  await bundle.remove();
  await rm(folder, { recursive: true, force: true });
});

/** Sends the signal as soon as there is a folder in the making beside `out`. */
async function interrupted(parent: string, signal: NodeJS.Signals): Promise<Outcome> {
  const child = spawn(
    process.execPath,
    [bundle.main, 'quantize', join(folder, 'model'), '--output', join(parent, 'out'), '--overwrite'],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const watcher = watch(parent, (_event, name) => {
    if (name?.endsWith('.new') === true && !child.killed) child.kill(signal);
  });
  try {
    return await outcomeOf(child);
  } finally {
    watcher.close();
  }
}

describe('an output folder in the making', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('goes away at %s, and what was there stays', async (signal, status) => {
    const parent = join(folder, signal);
    await mkdir(join(parent, 'out'), { recursive: true });
    await writeFile(join(parent, 'out/old'), 'old');
    const outcome = await interrupted(parent, signal);
    // It may have been done before the signal came.
    expect([0, status], outcome.stderr).toContain(outcome.status);
    expect(await readdir(parent)).toEqual(['out']);
    if (outcome.status !== status) return;
    // The signal may have come while the folder took its place.
    const names = await readdir(join(parent, 'out'));
    if (outcome.stderr.includes('nothing was written')) expect(names).toEqual(['old']);
    else expect(names).toContain('config.json');
  });

  it('of a killed process is removed by the next export to the same place; of a live one, or another, it stays', async () => {
    const parent = join(folder, 'left');
    const path = (name: string): string => join(parent, name);
    for (const name of [
      '.out.0123456789ab.new',
      '.out.1123456789ab.new',
      '.out.2123456789ab.new',
      '.out.3123456789ab.new',
      '.other.0123456789ab.new',
      '.out.new',
    ])
      await mkdir(path(name), { recursive: true });
    // The first belongs to a process that is gone, the second to one that is alive, the third is old and has no lock,
    // the fourth may get one.
    const lock = await lockFolder(path('.out.0123456789ab.new'));
    const holder = JSON.parse(await readFile(join(path('.out.0123456789ab.new'), LOCK_FILE), 'utf8')) as object;
    lock.release();
    await writeFile(join(path('.out.0123456789ab.new'), LOCK_FILE), JSON.stringify({ ...holder, process_start: '1' }));
    await writeFile(
      join(path('.out.1123456789ab.new'), LOCK_FILE),
      JSON.stringify({ ...holder, pid: process.ppid, process_start: null }),
    );
    await utimes(path('.out.2123456789ab.new'), 1, 1);
    const staged = await stageOutput(path('out'));
    await writeFile(join(staged.path, 'new'), 'new');
    await staged.commit();
    expect((await readdir(parent)).sort()).toEqual(
      ['.other.0123456789ab.new', '.out.1123456789ab.new', '.out.3123456789ab.new', '.out.new', 'out'].sort(),
    );
    expect(await readdir(path('out'))).toEqual(['new']);
  });

  it('leaves no lock in what is exported', async () => {
    const { status, stderr } = await lowrank('quantize', join(folder, 'model'), '--output', join(folder, 'quantized'));
    expect(status, stderr).toBe(0);
    expect(await readdir(join(folder, 'quantized'))).not.toContain(LOCK_FILE);
    expect((await readdir(folder)).filter((name) => name.startsWith('.'))).toEqual([]);
  });
});
