import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bundleLowrank, lowrank, outcomeOf } from '../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

let folder: string;
let bundle: Awaited<ReturnType<typeof bundleLowrank>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-hangup-'));
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(16, 1)));
  await writeFile(
    join(folder, 'run.yaml'),
    'model: ./model\ndevice: wasm\ndata: { train: train.jsonl }\ntraining: { output_dir: out, max_steps: 1000000, save_strategy: steps, save_steps: 1000000, logging_steps: 1 }\n',
  );
  bundle = await bundleLowrank();
});

afterAll(async () => {
  await bundle.remove();
  await rm(folder, { recursive: true, force: true });
});

it('a run whose terminal is closed stops with a checkpoint and status 129, and goes on from there', async () => {
  const out = join(folder, 'out');
  const child = spawn(process.execPath, [bundle.main, 'train', join(folder, 'run.yaml')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LOWRANK_THREADS: '1' },
  });
  const { status, stderr } = await outcomeOf(
    child,
    (text) => text.includes('step 3/') && !child.killed && child.kill('SIGHUP'),
  );
  expect(status, stderr).toBe(129);
  const [, step] = /stopped at step (\d+) of 1000000/.exec(stderr) as RegExpExecArray;
  expect(await readdir(out)).toContain(`checkpoint-${step}`);
  const again = await lowrank(
    'train',
    join(folder, 'run.yaml'),
    '--resume',
    '--set',
    `training.max_steps=${Number(step) + 1}`,
    '--force',
  );
  expect(again.stderr).toContain(`going on from ${join(out, `checkpoint-${step}`)}`);
  expect(again.status, again.stderr).toBe(0);
}, 120_000);

it('a local model is named by its absolute path in adapter_config.json, also where its name could be one of the Hub', async () => {
  const base = 'configs/quickstart/base';
  const out = join(folder, 'named');
  await writeFile(join(folder, 'text.jsonl'), toJsonl([{ text: 'Anna: Hello.' }]));
  const { status, stderr } = await lowrank(
    'train',
    join(folder, 'run.yaml'),
    '--set',
    `model=${base}`,
    '--set',
    `data.train=${join(folder, 'text.jsonl')}`,
    '--set',
    'training.max_steps=1',
    '--set',
    `training.output_dir=${out}`,
  );
  expect(status, stderr).toBe(0);
  expect(JSON.parse(await readFile(join(out, 'adapter_config.json'), 'utf8'))).toMatchObject({
    base_model_name_or_path: resolve(base),
  });
  expect(await readFile(join(out, 'README.md'), 'utf8')).not.toContain(resolve('.'));
}, 120_000);
