import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, statfs, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { runConfigSchema } from '../../src/config/schema.js';
import { diskNeeds, jointDiskBytes } from '../../src/finetune/disk-needs.js';
import { bytesBelow, requireSpace, requireWritable } from '../../src/workspace/writable.js';
import { bundleLowrank, lowrank } from '../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-writable-'));
  await writeFile(join(folder, 'file'), '');
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(16, 1)));
  await writeFile(
    join(folder, 'run.yaml'),
    'model: ./model\ndevice: wasm\ndata: { train: train.jsonl }\ntraining: { output_dir: out, max_steps: 40, save_strategy: steps, save_steps: 2, logging_steps: 1 }\n',
  );
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const wanted = (path: string): { path: string; option: string; given: string } => ({
  path,
  option: '--output',
  given: path,
});

describe('a folder to write to', () => {
  it('is left as it was', async () => {
    const before = await readdir(folder);
    await requireWritable(wanted(folder));
    await requireWritable(wanted(join(folder, 'a', 'b', 'c')));
    expect(await readdir(folder)).toEqual(before);
  });

  it('that cannot be made is refused with the reason', async () => {
    await symlink(join(folder, 'nowhere'), join(folder, 'link'));
    await expect(requireWritable(wanted(join(folder, 'file')))).rejects.toThrow(
      `${join(folder, 'file')} is a file; choose another folder`,
    );
    await expect(requireWritable(wanted(join(folder, 'file', 'x', 'y')))).rejects.toThrow(
      `${join(folder, 'file')} is a file; choose another folder`,
    );
    await expect(requireWritable(wanted(join(folder, 'link', 'x')))).rejects.toThrow('is a link that leads nowhere');
    await expect(requireWritable(wanted(join(folder, 'n'.repeat(300))))).rejects.toThrow(
      'its name is too long for the disk',
    );
    await expect(requireWritable(wanted('/proc/none/x'))).rejects.toThrow(/choose another folder/);
  });

  it('needs room on its disk', async () => {
    const { bavail, bsize } = await statfs(folder);
    await requireSpace(wanted(join(folder, 'a', 'b')), 1000, 'its files');
    await expect(requireSpace(wanted(join(folder, 'a', 'b')), 2 * bavail * bsize, '3 checkpoints')).rejects.toThrow(
      /--output: .*: 3 checkpoints need about .*iB, and .*iB are free on that disk; choose another folder or make room/,
    );
    await requireSpace(wanted(folder), 2 * bavail * bsize, '3 checkpoints', 2 * bavail * bsize);
    await mkdir(join(folder, 'sizes', 'x'), { recursive: true });
    await writeFile(join(folder, 'sizes', 'x', 'y'), 'four');
    expect(await bytesBelow(join(folder, 'sizes'))).toBe(4);
    expect(await bytesBelow(join(folder, 'none'))).toBe(0);
  });

  it('is looked at before the model, by every command that writes', async () => {
    // There is no such model: whoever loads it first says so.
    const file = join(folder, 'file', 'out');
    const run = join(folder, 'run.yaml');
    await writeFile(
      join(folder, 'ablation.yaml'),
      'base: { model: ./none, data: { train: train.jsonl, validation_split: 0.5 }, training: { output_dir: x } }\nruns: [{ r: 1 }]\noutput_dir: x\n',
    );
    await writeFile(
      join(folder, 'tasks.json'),
      JSON.stringify({
        tasks: [
          {
            name: 'a',
            type: 'loss',
            data: 'train.jsonl',
            prompt: '{{ prompt }}',
            completion: '{{ completion }}',
            metrics: ['loss'],
          },
        ],
      }),
    );
    const commands = [
      ['train', run, '--set', `training.output_dir=${file}`, '--set', 'model=./none'],
      ['ablate', join(folder, 'ablation.yaml'), '--output', file],
      ['eval', '--model', './none', '--tasks', join(folder, 'tasks.json'), '--output', file],
      ['quantize', join(folder, 'model'), '--output', file],
    ];
    for (const command of commands) {
      const { status, stderr } = await lowrank(...command);
      expect([status, stderr], command.join(' ')).toEqual([
        2,
        expect.stringContaining(`${join(folder, 'file')} is a file; choose another folder`),
      ]);
    }
  });
});

describe('what a run writes', () => {
  const training = (text: string): ReturnType<typeof runConfigSchema.parse>['training'] =>
    runConfigSchema.parse({
      model: './m',
      data: { train: 'a.jsonl' },
      training: { output_dir: 'x', ...(parse(text) as object) },
    }).training;
  const needs = (text: string, more: object = {}): ReturnType<typeof diskNeeds> =>
    diskNeeds({
      training: training(text),
      trainedBytes: 1000,
      slotBytes: 2000,
      totalSteps: 100,
      doneSteps: 0,
      epochSteps: 30,
      validated: false,
      ...more,
    });

  it('are its checkpoints, one more while an old one is removed, and the result', () => {
    expect(needs('{save_strategy: no}')).toMatchObject({ checkpoints: 0, resultBytes: 1000 });
    expect(needs('{save_strategy: steps, save_steps: 10}')).toMatchObject({ checkpoints: 10, checkpointBytes: 4000 });
    expect(needs('{save_strategy: steps, save_steps: 30}').checkpoints).toBe(4);
    expect(needs('{save_strategy: epoch}').checkpoints).toBe(4);
    expect(needs('{save_strategy: steps, save_steps: 10, save_total_limit: 3}').checkpoints).toBe(4);
    expect(needs('{save_strategy: steps, save_steps: 100, save_total_limit: 3}').checkpoints).toBe(1);
    expect(needs('{save_strategy: steps, save_steps: 10, save_total_limit: 1}', { validated: true })).toMatchObject({
      checkpoints: 3,
      checkpointBytes: 5000,
    });
    expect(needs('{save_strategy: steps, save_steps: 10}', { doneSteps: 70 }).checkpoints).toBe(3);
  });

  it('together are all results, and the checkpoints of those that are made at a time', () => {
    const [none, some, most] = [
      needs('{save_strategy: no}'),
      needs('{save_strategy: steps, save_steps: 50}'),
      needs('{save_strategy: steps, save_steps: 10}'),
    ];
    expect(jointDiskBytes([some], 1)).toBe(some.total);
    expect(jointDiskBytes([none, some, most, some], 1)).toBe(3 * none.total + most.total);
    expect(jointDiskBytes([none, some, most, some], 2)).toBe(2 * none.total + most.total + some.total);
    expect(jointDiskBytes([none, some], 4)).toBe(none.total + some.total);
  });
});

const mount = ['-Urm', 'sh', '-c'];
const canMount = spawnSync('unshare', [...mount, 'mount -t tmpfs -o size=64k none /mnt']).status === 0;

describe.skipIf(!canMount)('a disk of its own', () => {
  it('that is small or read-only is refused before training; one that fills up in the middle leaves a checkpoint to go on from', async () => {
    const bundle = await bundleLowrank();
    const train = (size: string, before: string, flags: string, after = 'true'): { stderr: string; stdout: string } => {
      const command = `mount -t tmpfs -o size=${size} none /mnt && ${before} && { '${process.execPath}' '${bundle.main}' train '${join(folder, 'run.yaml')}' --set training.output_dir=/mnt/out ${flags}; echo "status $?"; ${after}; }`;
      return spawnSync('unshare', [...mount, command], {
        encoding: 'utf8',
        env: { ...process.env, LOWRANK_THREADS: '1' },
      });
    };
    const going = (steps: string): string =>
      `'${process.execPath}' '${bundle.main}' train '${join(folder, 'run.yaml')}' --set training.output_dir=/mnt/out --resume ${steps}`;
    try {
      const small = train('1m', 'true', '');
      expect([small.stdout, small.stderr]).toEqual([
        'status 2\n',
        expect.stringMatching(
          /training\.output_dir: \/mnt\/out: 20 checkpoints of about .*iB \(training\.save_total_limit keeps fewer\) and the result need about .*iB, and 1\.0 MiB are free on that disk/,
        ),
      ]);
      const readOnly = train('1m', 'mount -o remount,ro /mnt', '');
      expect([readOnly.stdout, readOnly.stderr]).toEqual([
        'status 2\n',
        expect.stringContaining('/mnt is on a disk that is read-only'),
      ]);
      // Somebody else fills it.
      const filler =
        '{ for i in $(seq 3000); do [ -e /mnt/out/checkpoint-4 ] && break; sleep 0.02; done; dd if=/dev/zero of=/mnt/filler bs=64k; } > /dev/null 2>&1 & true';
      const flags = '--set training.max_steps=400 --set training.save_total_limit=2';
      const full = train(
        '24m',
        filler,
        flags,
        `echo "unfinished $(ls -A /mnt/out | grep -c '^[.]')"; rm /mnt/filler; timeout 20 ${going(flags)} 2>&1 > /dev/null | grep 'going on'`,
      );
      const [, saved] =
        /lowrank: .*: no space left on the disk; nothing was changed\n\/mnt\/out\/checkpoint-(\d+) is whole; go on with: /.exec(
          full.stderr,
        ) ?? [];
      expect(Number(saved), full.stderr).toBeGreaterThan(0);
      expect(full.stdout).toContain(`status 1\nunfinished 0\ngoing on from /mnt/out/checkpoint-${saved}\n`);
    } finally {
      await bundle.remove();
    }
  }, 120_000);

  it('that has room for one run of an ablation and not for all is refused before the model is loaded', async () => {
    const bundle = await bundleLowrank();
    try {
      // Whoever loads the weights says that there are none.
      const bare = join(folder, 'bare');
      await writeTinyModel(bare);
      await rm(join(bare, 'model.safetensors'));
      const path = join(folder, 'space.yaml');
      await writeFile(
        path,
        `base: { model: ./bare, device: wasm, data: { train: train.jsonl, validation_split: 0.5 }, training: { output_dir: x, max_steps: 2, save_strategy: no } }
runs: [{ r: 1 }, { r: 2 }, { r: 3 }, { r: 4 }]
output_dir: out
`,
      );
      const ablate = (size: string): string => {
        const command = `mount -t tmpfs -o size=${size} none /mnt && '${process.execPath}' '${bundle.main}' ablate '${path}' --output /mnt/out; echo "status $?"; ls -A /mnt/out`;
        const { stdout, stderr } = spawnSync('unshare', [...mount, command], { encoding: 'utf8' });
        return stdout + stderr;
      };
      const small = ablate('10m');
      expect(small).toContain('status 2');
      expect(small).toMatch(
        /--output: \/mnt\/out: the results of 4 runs need about 16(?:\.\d)? MiB, and 10(?:\.0)? MiB are free on that disk; choose another folder or make room/,
      );
      expect(small).not.toMatch(/model\.safetensors|runs failed/);
      expect(ablate('40m')).toContain('4 of 4 runs failed');
    } finally {
      await bundle.remove();
    }
  }, 120_000);
});
