import { spawn } from 'node:child_process';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleLowrank, lowrank, outcomeOf } from '../support/cli.js';
import { readEventFolder, readEvents, scalarOf } from '../support/tfevents.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

let folder = '';
let config = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-events-'));
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(16, 1)));
  await writeFile(join(folder, 'validation.jsonl'), toJsonl(countingRows(4, 2)));
  config = join(folder, 'run.json');
  const training = {
    output_dir: './out',
    max_steps: 6,
    eval_steps: 2,
    logging_steps: 1,
    save_strategy: 'steps',
    save_steps: 2,
    report_to: ['tensorboard'],
  };
  await writeFile(
    config,
    JSON.stringify({
      model: './model',
      device: 'wasm',
      data: { train: './train.jsonl', validation: './validation.jsonl', test: './validation.jsonl' },
      training,
    }),
  );
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function train(out: string, ...flags: string[]): Promise<void> {
  const { status, stderr } = await lowrank(
    'train',
    config,
    '--set',
    `training.output_dir=${join(folder, out)}`,
    ...flags,
  );
  expect(status, stderr).toBe(0);
}

/** What metrics.jsonl says of a column, in the precision of an event. */
async function logged(out: string, column: string): Promise<[number, number][]> {
  const lines = (await readFile(join(folder, out, 'metrics.jsonl'), 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);
  return lines.flatMap((line): [number, number][] =>
    line['step'] === undefined || line[column] === undefined ? [] : [[line['step'], Math.fround(line[column])]],
  );
}

async function expectSame(out: string, at = join(out, 'runs')): Promise<void> {
  const events = await readEventFolder(join(folder, at));
  const names = {
    loss: 'train/loss',
    learning_rate: 'train/learning_rate',
    grad_norm: 'train/grad_norm',
    tokens_per_second: 'train/tokens_per_second',
    tokens: 'train/num_input_tokens_seen',
    eval_loss: 'eval/loss',
    perplexity: 'eval/perplexity',
  };
  for (const [column, tag] of Object.entries(names)) {
    const rows = await logged(out, column);
    expect(rows.length).toBeGreaterThan(0);
    expect(scalarOf(events, tag), tag).toEqual(rows);
  }
}

describe('report_to: tensorboard', () => {
  it('writes what the log says, with the settings', async () => {
    const before = Date.now() / 1000;
    await train('plain');
    await expectSame('plain');
    const events = await readEventFolder(join(folder, 'plain/runs'));
    expect(events[0]).toMatchObject({ version: 'brain.Event:2', step: 0 });
    expect(events.filter(({ version }) => version !== undefined)).toHaveLength(1);
    expect(scalarOf(events, 'test/loss').map(([step]) => step)).toEqual([6]);
    expect(events[1]?.texts['args/text_summary']).toMatch(/^ {4}model: .*\n/);
    for (const { wallTime } of events) expect(wallTime).toBeGreaterThanOrEqual(before);
  });

  it('goes on without a step twice, whatever a killed run has left', async () => {
    await train('resumed');
    const runs = join(folder, 'resumed/runs');
    const [name = ''] = await readdir(runs);
    await appendFile(join(runs, name), Buffer.from([40, 0, 0, 0, 0, 0, 0]));
    await rm(join(folder, 'resumed/checkpoint-6'), { recursive: true });
    await train('resumed', '--resume');
    await expectSame('resumed');
    expect(await readdir(runs)).toHaveLength(2);
    const events = await readEventFolder(runs);
    // A reader that has seen the steps after 4 already takes them back.
    expect(events.filter(({ starts }) => starts).map(({ step }) => step)).toEqual([5]);
    expect(scalarOf(events, 'test/loss')).toHaveLength(1);
  });

  it('takes the past from another output folder, or from the log where there were no events', async () => {
    await train('first');
    await train('second', `--resume=${join(folder, 'first/checkpoint-4')}`);
    await expectSame('second');
    await train('quiet', '--set', 'training.report_to=none');
    expect(await readdir(join(folder, 'quiet'))).not.toContain('runs');
    await rm(join(folder, 'quiet/checkpoint-6'), { recursive: true });
    await train('quiet', '--resume');
    await expectSame('quiet');
  });

  it('replaces the events of a run only when that is asked for', async () => {
    const set = ['--set', `training.logging_dir=${join(folder, 'events')}`];
    await train('one', ...set);
    await expectSame('one', 'events');
    const { status, stderr } = await lowrank(
      'train',
      config,
      ...set,
      '--set',
      `training.output_dir=${join(folder, 'two')}`,
    );
    expect(status).toBe(2);
    expect(stderr).toBe(
      `lowrank: training.logging_dir: ${join(folder, 'events')} holds the events of a run already; --set training.overwrite_output_dir=true replaces them\n`,
    );
    await train('two', ...set, '--set', 'training.overwrite_output_dir=true');
    await expectSame('two', 'events');
    expect(await readdir(join(folder, 'events'))).toHaveLength(1);
  });

  it('knows no other reader', async () => {
    for (const value of ['wandb', '[tensorboard, wandb]']) {
      const { status, stderr } = await lowrank('train', config, '--set', `training.report_to=${value}`);
      expect(status).toBe(2);
      expect(stderr.trimEnd().split('\n')).toHaveLength(1);
      expect(stderr).toContain('training.report_to must be none or tensorboard or a list of these, not ');
    }
  });

  it('keeps what was logged when the process is killed', async () => {
    const bundle = await bundleLowrank();
    try {
      const out = join(folder, 'killed');
      const child = spawn(
        process.execPath,
        [bundle.main, 'train', config, '--set', `training.output_dir=${out}`, '--set', 'training.max_steps=60'],
        { stdio: ['ignore', 'pipe', 'pipe'] },
      );
      const outcome = await outcomeOf(child, (stderr) => {
        if (stderr.includes('checkpoint-4')) child.kill('SIGKILL');
      });
      expect(outcome.status).toBeNull();
      const [name = ''] = await readdir(join(out, 'runs'));
      const events = readEvents(await readFile(join(out, 'runs', name)));
      const [steps, lines] = [scalarOf(events, 'train/loss'), await logged('killed', 'loss')];
      expect(steps.length).toBeGreaterThanOrEqual(4);
      // The line comes first: at most its events are missing.
      expect(lines.slice(0, steps.length)).toEqual(steps);
      expect(lines.length - steps.length).toBeLessThanOrEqual(1);
      await train('killed', '--set', 'training.max_steps=60', '--resume');
      await expectSame('killed');
    } finally {
      await bundle.remove();
    }
  });
});

describe('an ablation', () => {
  it('has the events of each run in a folder of its own', async () => {
    const file = join(folder, 'ablation.json');
    const base = {
      model: './model',
      device: 'wasm',
      data: { train: './train.jsonl', validation: './validation.jsonl' },
      training: { output_dir: './x', max_steps: 2, eval_steps: 1, logging_steps: 1, report_to: 'tensorboard' },
    };
    await writeFile(file, JSON.stringify({ base, grid: { r: [1, 2] }, seeds: [1], output_dir: './ablation' }));
    const inside = await lowrank('ablate', file, '--no-estimate', '--jobs', '1');
    expect(inside.status, inside.stderr).toBe(0);
    for (const run of await readdir(join(folder, 'ablation/runs'))) await expectSame(`ablation/runs/${run}`);
    await mkdir(join(folder, 'elsewhere'));
    const outside = await lowrank(
      'ablate',
      file,
      '--no-estimate',
      '--jobs',
      '1',
      '--output',
      join(folder, 'other'),
      '--set',
      `training.logging_dir=${join(folder, 'elsewhere')}`,
    );
    expect(outside.status, outside.stderr).toBe(0);
    for (const run of ['r-1_seed-1', 'r-2_seed-1']) await expectSame(`other/runs/${run}`, `elsewhere/${run}`);
  });
});
