import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { readdirSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunConfigInput } from '../../src/config/schema.js';
import { finetune } from '../../src/finetune/finetune.js';
import { localDirectory, nodeHost, openRun, trainToFolder, writeRun } from '../../src/node.js';
import { openSession } from '../../src/session.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-train-to-'));
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(16, 1)));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const configOf = (name: string, training: Partial<RunConfigInput['training']> = {}): RunConfigInput => ({
  model: join(folder, 'model'),
  device: 'wasm',
  data: { train: join(folder, 'train.jsonl'), validation_split: 0.25 },
  training: { output_dir: join(folder, name), max_steps: 4, learning_rate: 0.01, ...training },
});

/** Files of the test that this process has open. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(folder) ? [path] : [];
    } catch {
      return [];
    }
  });
}

describe('trainToFolder', () => {
  it('writes what lowrank train writes, and the folder opens as a session', async () => {
    const { folder: out, training } = await trainToFolder(configOf('done'));
    expect(training.steps).toBe(4);
    expect((await readdir(out)).sort()).toEqual(
      [
        'README.md',
        'adapter_config.json',
        'adapter_model.safetensors',
        'checkpoint-3',
        'checkpoint-4',
        'config.yaml',
        'metrics.jsonl',
        'training_record.json',
      ].sort(),
    );
    const run = await openRun(out);
    expect(run.baseName).toBe(join(folder, 'model'));
    const session = await openSession({ ...run, device: 'wasm', host: nodeHost });
    expect(session.adapters.active).toBeDefined();
    await session.dispose();
  });

  it('stops with a checkpoint, goes on from it, and refuses to overwrite', async () => {
    const stop = new AbortController();
    const written: string[] = [];
    const first = await trainToFolder(configOf('stopped'), {
      signal: stop.signal,
      callbacks: {
        onStep: ({ step }) => void (step === 2 && stop.abort()),
        onCheckpoint: (path) => void written.push(path),
      },
    });
    expect([first.stopped, first.training.steps, written.at(-1)]).toEqual([
      true,
      2,
      join(folder, 'stopped/checkpoint-2'),
    ]);
    expect(await readdir(join(folder, 'stopped'))).not.toContain('adapter_config.json');
    await expect(trainToFolder(configOf('stopped'))).rejects.toThrow('holds a run already');
    const second = await trainToFolder(configOf('stopped', { resume_from_checkpoint: true }));
    expect([second.stopped, second.training.steps]).toEqual([false, 4]);
    const whole = await readFile(join(folder, 'done/adapter_model.safetensors'));
    expect((await readFile(join(folder, 'stopped/adapter_model.safetensors'))).equals(whole)).toBe(true);
  });

  it.skipIf(process.platform !== 'linux')('closes every file that it opens, also when the run fails', async () => {
    await trainToFolder(configOf('closed'));
    expect(openFiles()).toEqual([]);
    await expect(trainToFolder({ ...configOf('failed'), adapter: { target_modules: 'nothing' } })).rejects.toThrow(
      'target_modules',
    );
    await writeFile(join(folder, 'bad.jsonl'), '{"input_ids": [1, 2]}\n{"input_ids": "x"}\n');
    await expect(trainToFolder({ ...configOf('failed'), data: { train: join(folder, 'bad.jsonl') } })).rejects.toThrow(
      'input_ids',
    );
    expect(openFiles()).toEqual([]);
  });
});

describe('writeRun', () => {
  it('writes a result in one call, with paths relative to its folder, and replaces a run only when asked', async () => {
    const result = await finetune({
      config: configOf('elsewhere'),
      model: localDirectory(join(folder, 'model')),
      data: { train: [{ name: 'rows', rows: countingRows(8, 1) }] },
      host: nodeHost,
    });
    const out = await writeRun(join(folder, 'deep/er'), result);
    expect((await readdir(out)).sort()).toEqual([
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
      'config.yaml',
      'training_record.json',
    ]);
    expect(await readFile(join(out, 'config.yaml'), 'utf8')).toMatch(/^model: \.\.\/\.\.\/model$/m);
    await expect(writeRun(out, result)).rejects.toThrow('holds files already');
    await writeRun(out, result, { overwrite: true });
    expect(
      execFileSync('ls', ['-A', out], { encoding: 'utf8' })
        .split('\n')
        .filter((name) => name.startsWith('.')),
    ).toEqual([]);
  });
});
