import { spawn } from 'node:child_process';
import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gpuBackend } from '../../kernels/tfjs/webgpu.js';
import { listCheckpoints, newestCheckpoint } from '../../src/workspace/checkpoints.js';
import { isDirectory } from '../../src/node.js';
import { describeBackends } from '../support/backends.js';
import { bundleLowrank, lowrank, outcomeOf, type Outcome } from '../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

const CONFIG = `
model: ./model
device: wasm
adapter: { r: 4, lora_dropout: 0.1 }
data: { train: train.jsonl, validation: validation.jsonl }
training: { output_dir: out, max_steps: 6, per_device_train_batch_size: 4, learning_rate: 0.01, logging_steps: 1, eval_steps: 2, save_strategy: steps, save_steps: 2 }
`;

let folder: string;
let config: string;
/** A finished run, which tests copy. */
let finished: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-resume-'));
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(16, 1)));
  await writeFile(join(folder, 'validation.jsonl'), toJsonl(countingRows(4, 2)));
  config = join(folder, 'run.yaml');
  await writeFile(config, CONFIG);
  finished = join(folder, 'finished');
  expect((await train(finished)).status).toBe(0);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const settings = (out: string, sets: readonly string[]): string[] =>
  [`training.output_dir=${out}`, ...sets].flatMap((set) => ['--set', set]);

function train(out: string, sets: readonly string[] = [], ...flags: readonly string[]): Promise<Outcome> {
  return lowrank('train', config, ...settings(out, sets), ...flags);
}

let copies = 0;

/** The finished run as it was after a step, in a folder of its own. */
async function stoppedAfter(step: number): Promise<string> {
  const out = join(folder, `copy-${copies++}`);
  await cp(finished, out, { recursive: true });
  for (const later of await listCheckpoints(out))
    if (later > step) await rm(join(out, `checkpoint-${later}`), { recursive: true });
  for (const name of ['adapter_config.json', 'adapter_model.safetensors', 'config.yaml']) await rm(join(out, name));
  return out;
}

async function steps(out: string): Promise<unknown[]> {
  const lines = (await readFile(join(out, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n');
  return lines.map((line) => (JSON.parse(line) as { step: number }).step);
}

const adapter = (out: string): Promise<string> => readFile(join(out, 'adapter_model.safetensors'), 'hex');

describe('an output folder', () => {
  it('with a run is neither overwritten nor gone on from unasked', async () => {
    const { status, stderr } = await train(finished);
    expect(status).toBe(2);
    expect(stderr).toBe(
      `lowrank: training.output_dir: ${finished} holds a run already; --resume goes on with it, --set training.overwrite_output_dir=true replaces an earlier run\n`,
    );
  });

  it('is overwritten with all its checkpoints when that is asked for', async () => {
    const out = await stoppedAfter(6);
    expect((await train(out, ['training.overwrite_output_dir=true', 'training.max_steps=1'])).status).toBe(0);
    expect(await listCheckpoints(out)).toEqual([1]);
    expect(await steps(out)).toEqual([1, 1]);
  });

  it('with nothing but a log asks too, since a run may have come far without a checkpoint', async () => {
    const out = join(folder, 'log');
    await mkdir(out);
    await writeFile(join(out, 'metrics.jsonl'), '{"step":1}\n');
    expect((await train(out)).stderr).toContain(
      `${out} holds the log of a run that had no checkpoint yet; --resume starts it again, --set`,
    );
    expect((await train(out, ['training.max_steps=1'], '--resume')).status).toBe(0);
    expect(await steps(out)).toEqual([1, 1]);
  });

  it('of other things is left alone, also with --resume', async () => {
    const out = join(folder, 'other');
    await mkdir(out);
    await writeFile(join(out, 'notes.txt'), '');
    const { status, stderr } = await train(out, [], '--resume');
    expect({ status, stderr: stderr.split('\n').at(-2) }).toEqual({
      status: 2,
      stderr: expect.stringContaining(`${out} holds files, but no checkpoint to go on from`) as string,
    });
    expect(await readdir(out)).toEqual(['notes.txt']);
  });
});

describe('train --resume', () => {
  it('goes on from the newest checkpoint, with a log that lacks nothing and has nothing twice', async () => {
    const out = await stoppedAfter(2);
    await appendFile(join(out, 'metrics.jsonl'), '{"step":7,"lo');
    const { status, stderr } = await train(out, [], '--resume');
    expect(status, stderr).toBe(0);
    expect(stderr).toContain(`going on from ${join(out, 'checkpoint-2')}\n`);
    expect(await steps(out)).toEqual(await steps(finished));
    expect(await adapter(out)).toBe(await adapter(finished));
    expect(await readFile(join(out, 'config.yaml'), 'utf8')).toBe(
      (await readFile(join(finished, 'config.yaml'), 'utf8')).replaceAll(finished, out),
    );
  });

  it('starts a run where there is none yet, and finishes one that has made all its steps', async () => {
    const out = join(folder, 'fresh');
    const first = await train(out, [], '--resume');
    expect(first.stderr).toContain(`no checkpoint in ${out} yet: starting from the beginning`);
    const done = await stoppedAfter(6);
    expect((await train(done, [], '--resume')).status).toBe(0);
    expect([await adapter(out), await adapter(done)]).toEqual([await adapter(finished), await adapter(finished)]);
  });

  it('passes over a broken checkpoint with a note', async () => {
    const out = await stoppedAfter(4);
    const broken = join(out, 'checkpoint-4');
    await writeFile(join(broken, 'optimizer.safetensors'), 'x');
    const { status, stderr } = await train(out, [], '--resume');
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/checkpoint-4 is passed over: optimizer\.safetensors has 1 bytes, written were \d+\n/);
    expect(stderr).toContain(`going on from ${join(out, 'checkpoint-2')}\n`);
    expect(await adapter(out)).toBe(await adapter(finished));
    expect(await newestCheckpoint(out, () => undefined)).toBe(join(out, 'checkpoint-6'));
    await writeFile(join(out, 'checkpoint-6/manifest.json'), '{}');
    for (const step of [2, 4]) await rm(join(out, `checkpoint-${step}`), { recursive: true });
    expect((await train(out, [], '--resume')).stderr).toContain('holds no whole checkpoint to go on from');
  });

  it.each([
    ['is cut', (text: string) => text.slice(0, text.length / 2), 'manifest\\.json is broken'],
    ['is empty', () => '', 'manifest\\.json is broken'],
    ['is of another kind', () => '[]', 'manifest\\.json is none that this version knows'],
    [
      'names a file outside',
      (text: string) => text.replace('training_state.json', '../../secret'),
      'manifest\\.json names "\\.\\./\\.\\./secret", which leads out of the folder',
    ],
  ])('passes over a checkpoint whose manifest %s, with a note', async (_what, change, message) => {
    const out = await stoppedAfter(4);
    const manifest = join(out, 'checkpoint-4/manifest.json');
    await writeFile(manifest, change(await readFile(manifest, 'utf8')));
    const { status, stderr } = await train(out, [], '--resume');
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(new RegExp(`checkpoint-4 is passed over: ${message}\\n`));
    expect(stderr).toContain(`going on from ${join(out, 'checkpoint-2')}\n`);
  });

  it.each(['option', 'config'])('takes a checkpoint by its folder, into another output folder too: %s', async (way) => {
    const out = join(folder, `elsewhere-${way}`);
    const from = join(finished, 'checkpoint-4');
    const { status, stderr } =
      way === 'option'
        ? await train(out, [], `--resume=${from}`)
        : await train(out, [`training.resume_from_checkpoint=${from}`]);
    expect(status, stderr).toBe(0);
    expect(await adapter(out)).toBe(await adapter(finished));
    expect(await steps(out)).toEqual(await steps(finished));
    expect(await listCheckpoints(out)).toEqual([6]);
  });

  it('needs no config with a checkpoint, and takes the word behind it for the config otherwise', async () => {
    const out = join(folder, 'from-checkpoint');
    expect((await lowrank('train', `--resume=${join(finished, 'checkpoint-4')}`, ...settings(out, []))).status).toBe(0);
    expect(await adapter(out)).toBe(await adapter(finished));
    expect((await lowrank('train', '--resume', config, ...settings(out, []))).status).toBe(0);
    expect(await lowrank('train')).toMatchObject({
      status: 2,
      stderr: 'lowrank: give a config, or --model and --data\n',
    });
  });

  it('refuses what has changed until it is forced, and changes nothing before', async () => {
    const out = await stoppedAfter(4);
    const before = await readdir(out);
    const { status, stderr } = await train(out, ['training.learning_rate=0.5'], '--resume');
    expect(status).toBe(2);
    expect(stderr).toMatch(
      /lowrank: .*checkpoint-4 is of another run:\n {2}training\.learning_rate was 0\.01 and is 0\.5\n--force goes on from it all the same\n$/,
    );
    expect(await readdir(out)).toEqual(before);
    expect((await train(out, ['training.learning_rate=0.5'], '--resume', '--force')).status).toBe(0);
    expect(await adapter(out)).not.toBe(await adapter(finished));
  });

  it('names the last checkpoint when the loss is no longer finite', async () => {
    const out = await stoppedAfter(4);
    const { status, stderr } = await train(out, ['training.learning_rate=1e38'], '--resume', '--force');
    expect(status).toBe(5);
    expect(stderr).toMatch(/lowrank: step \d: the .* is NaN; .* The checkpoint of step 4 remains\./);
    expect(stderr).toContain(
      `\n${join(out, 'checkpoint-4')} is whole; go on with: lowrank train ${config} --set training.output_dir=${out} --set training.learning_rate=1e38 --resume\n`,
    );
  });
});

describe('save_total_limit', () => {
  it('keeps the newest checkpoints and that of the best evaluation', async () => {
    const out = join(folder, 'limited');
    // A rate that changes no loss: the first evaluation stays the best.
    expect(
      (await train(out, ['training.save_total_limit=2', 'training.save_steps=1', 'training.learning_rate=1e-30']))
        .status,
    ).toBe(0);
    const log = (await readFile(join(out, 'metrics.jsonl'), 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { step: number; eval_loss?: number });
    const best = log
      .filter((line) => line.eval_loss !== undefined)
      .sort((a, b) => (a.eval_loss as number) - (b.eval_loss as number))[0]?.step;
    expect(best).toBeLessThan(6);
    expect(await listCheckpoints(out)).toEqual([6, best]);
  });
});

describe('a process', () => {
  let bundle: Awaited<ReturnType<typeof bundleLowrank>>;

  beforeAll(async () => {
    bundle = await bundleLowrank();
  });

  afterAll(() => bundle.remove());

  const command = (out: string, sets: readonly string[], ...flags: readonly string[]): string[] => [
    bundle.main,
    'train',
    config,
    ...settings(out, sets),
    ...flags,
  ];

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    'that gets %s writes a checkpoint between two micro-batches and ends with %i; --resume goes on from it',
    async (signal, expected) => {
      const out = join(folder, signal);
      const sets = [
        'training.max_steps=100000',
        'training.save_strategy=no',
        'training.save_steps=null',
        'training.gradient_accumulation_steps=4',
      ];
      const child = spawn(process.execPath, command(out, sets), { stdio: ['ignore', 'pipe', 'pipe'] });
      const { status, stderr } = await outcomeOf(
        child,
        (text) => text.includes('step 3/') && !child.killed && child.kill(signal),
      );
      expect(status, stderr).toBe(expected);
      const [, step] =
        /stopped at step (\d+) of 100000; .*checkpoint-\1 is whole; go on with: lowrank train .* --resume\n$/.exec(
          stderr,
        ) ?? [];
      expect(await newestCheckpoint(out, () => undefined), stderr).toBe(join(out, `checkpoint-${step}`));
      expect((await readdir(out)).sort()).toEqual([`checkpoint-${step}`, 'metrics.jsonl']);
      expect((await lowrank('inspect', join(out, `checkpoint-${step}`), '--model', join(folder, 'model'))).status).toBe(
        0,
      );
      const again = await train(out, [...sets, `training.max_steps=${Number(step) + 1}`], '--resume', '--force');
      expect(again.status, again.stderr).toBe(0);
      expect(await steps(out)).toContain(Number(step) + 1);
    },
  );

  it('ends at once at a second signal', async () => {
    const out = join(folder, 'twice');
    // One signal is noted, the other finds it noted: in a run that would go on for hours, with an evaluation that takes
    // long.
    const child = spawn(
      process.execPath,
      command(out, ['training.max_steps=100000', 'training.save_strategy=no', 'training.save_steps=null']),
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const { status, stderr } = await outcomeOf(child, (text) => {
      if (text.includes('step 3/') && !child.killed) {
        child.kill('SIGINT');
        child.kill('SIGTERM');
      }
    });
    // The kernel may hand out two pending signals in either order; the later one ends the run.
    expect([130, 143], stderr).toContain(status);
    expect(stderr).toContain('once more to stop at once');
    expect(stderr).not.toContain('stopped at step');
  });

  // Works without any right: files of the optimiser are larger than 64 blocks of 512 bytes, those of the adapter are
  // not.
  it.skipIf(process.platform === 'win32')('that may write no large files says so', async () => {
    const out = join(folder, 'limit');
    const { status, stderr } = await outcomeOf(
      spawn('sh', ['-c', 'ulimit -f 64 && exec "$@"', 'sh', process.execPath, ...command(out, [])], {
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
    expect(status, stderr).toBe(1);
    expect(stderr).toContain(
      `lowrank: ${join(out, 'checkpoint-2')}: larger than the system lets a file be (ulimit -f); nothing was changed\n`,
    );
    expect(await readdir(out)).toEqual(['metrics.jsonl']);
  });
});

describeBackends('a lost device', ['webgpu'], () => {
  it('is an error that names the last checkpoint and the command that goes on', async () => {
    const out = join(folder, 'lost');
    let lost = false;
    const timer = setInterval(() => {
      void isDirectory(join(out, 'checkpoint-2')).then((there) => {
        if (!there || lost) return;
        lost = true;
        gpuBackend().device.destroy();
      });
    }, 5);
    const { status, stderr } = await train(out, ['device=webgpu', 'training.max_steps=500']);
    clearInterval(timer);
    expect(status, stderr).toBe(4);
    // The driver may write lines of its own before and after.
    const [, step] =
      /lowrank: [^]*checkpoint-(\d+) is whole; go on with: lowrank train .* --resume\n/.exec(stderr) ?? [];
    expect(await newestCheckpoint(out, () => undefined), stderr).toBe(join(out, `checkpoint-${step}`));
  });
});
