import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';

const BASE = resolve('configs/quickstart/base');
let folder = '';
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-merge-'));
  const rows = (await readFile('configs/quickstart/train.jsonl', 'utf8')).split('\n').slice(0, 24).join('\n');
  await writeFile(at('train.jsonl'), rows);
  await writeFile(at('text.txt'), rows.slice(0, 1500));
  const run = {
    model: BASE,
    device: 'wasm',
    quantization: { load_in_4bit: true },
    data: { train: './train.jsonl', max_length: 128 },
    training: { output_dir: './out', max_steps: 6, learning_rate: 0.01 },
  };
  await writeFile(at('run.json'), JSON.stringify(run));
  const { status, stderr } = await lowrank('train', at('run.json'));
  expect(status, stderr).toBe(0);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function meanKl(...flags: string[]): Promise<number> {
  const { status, stdout, stderr } = await lowrank(
    'export',
    at('out'),
    '--format',
    'merged',
    '--model',
    BASE,
    '--text',
    at('text.txt'),
    '--device',
    'wasm',
    ...flags,
  );
  expect(status, stderr).toBe(0);
  const [, kl = 'NaN'] = /mean KL (\S+) nats/.exec(stdout) ?? [];
  return Number(kl);
}

describe('a merge into a base that was trained on in 4 bits', () => {
  it('goes to the float weights, and tells how far that is from what was trained', async () => {
    const float = await meanKl('-o', at('float'));
    const again = await meanKl('-o', at('packed'), '--requantize', 'nf4');
    // Neither is what was trained: floats were never quantised, the sum is quantised once more.
    expect(float).toBeGreaterThan(0);
    expect(again).toBeGreaterThan(0);
    expect(float).toBeLessThan(0.5);
    expect(JSON.parse(await readFile(join(at('packed'), 'config.json'), 'utf8'))).toMatchObject({
      quantization_config: { bnb_4bit_quant_type: 'nf4' },
    });
    expect((await readdir(folder)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('is exact on the base that the adapter was trained on', async () => {
    // The 4-bit base as a checkpoint of its own: its merge starts from the very values of the training.
    expect((await lowrank('quantize', BASE, '-o', at('base4'))).status).toBe(0);
    const { stdout, stderr, status } = await lowrank(
      'export',
      at('out'),
      '--format',
      'merged',
      '--model',
      at('base4'),
      '--text',
      at('text.txt'),
      '--device',
      'wasm',
      '-o',
      at('exact'),
      '--dtype',
      'float32',
    );
    expect(status, stderr).toBe(0);
    expect(Number(/mean KL (\S+) nats/.exec(stdout)?.[1])).toBeLessThan(1e-6);
  });

  it('wants a text that is there', async () => {
    expect(
      await lowrank(
        'export',
        at('out'),
        '--format',
        'merged',
        '--model',
        BASE,
        '-o',
        at('none'),
        '--text',
        at('missing.txt'),
      ),
    ).toMatchObject({ status: 2, stderr: expect.stringContaining('missing.txt: no such file') as string });
  });
});
