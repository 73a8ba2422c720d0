import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { lowrank } from '../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-train-flags-'));
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(12, 1)));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('lowrank train without a config', () => {
  it('trains on a model and a file, and the run is used by its folder', async () => {
    const out = join(folder, 'out');
    const data = join(folder, 'train.jsonl');
    const { status, stdout, stderr } = await lowrank(
      'train',
      '--model',
      join(folder, 'model'),
      '--data',
      data,
      '--validation',
      data,
      '--output',
      out,
      '--quantize',
      'nf4',
      '--set',
      'training.max_steps=2',
      '--set',
      'device=wasm',
    );
    expect([status, stdout], stderr).toEqual([0, `${out}\n`]);
    const config = parse(await readFile(join(out, 'config.yaml'), 'utf8')) as {
      model: string;
      quantization: object;
      data: { train: string };
    };
    expect(config).toMatchObject({
      model: '../model',
      quantization: { load_in_4bit: true, bnb_4bit_quant_type: 'nf4' },
      data: { train: '../train.jsonl', validation: '../train.jsonl' },
    });
    expect((await lowrank('eval', out, '--data', data, '--device', 'wasm')).status).toBe(0);
  });

  it('says what is missing, and names the flag that is wrong', async () => {
    expect(await lowrank('train', '--model', 'x')).toMatchObject({
      status: 2,
      stderr: 'lowrank: give a config, or --model and --data\n',
    });
    const wrong = await lowrank(
      'train',
      '--model',
      '',
      '--data',
      join(folder, 'train.jsonl'),
      '--output',
      join(folder, 'no'),
    );
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toContain('--model ');
    expect(
      (
        await lowrank(
          'train',
          '--model',
          join(folder, 'model'),
          '--data',
          join(folder, 'none.jsonl'),
          '--output',
          join(folder, 'no'),
        )
      ).stderr,
    ).toContain('none.jsonl: no such file');
  });
});
