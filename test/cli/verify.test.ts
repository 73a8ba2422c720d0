import { copyFile, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Check } from '../../src/record/verify.js';
import { readRecord } from '../../src/record/record.js';
import { localDirectory } from '../../src/io/node.js';
import { lowrank } from '../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

let folder = '';
let adapter = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-verify-'));
  await writeTinyModel(join(folder, 'model'));
  await writeFile(join(folder, 'train.jsonl'), toJsonl(countingRows(24, 1)));
  adapter = join(folder, 'out');
  const config = {
    model: './model',
    device: 'wasm',
    quantization: { load_in_4bit: true },
    data: { train: './train.jsonl' },
    training: { output_dir: './out', max_steps: 8, learning_rate: 0.01 },
  };
  await writeFile(join(folder, 'run.json'), JSON.stringify(config));
  const { status, stderr } = await lowrank('train', join(folder, 'run.json'));
  expect(status, stderr).toBe(0);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function verify(
  path: string,
  model = join(folder, 'model'),
): Promise<{ status: number | null; checks: Record<string, Check> }> {
  const { status, stdout, stderr } = await lowrank('verify', path, '--model', model, '--device', 'wasm', '--json');
  expect(stdout, stderr).not.toBe('');
  const { checks } = JSON.parse(stdout) as { checks: Check[] };
  return { status, checks: Object.fromEntries(checks.map((check) => [check.name, check])) };
}

describe('lowrank verify', () => {
  it('finds an adapter as training left it', async () => {
    const { status, checks } = await verify(adapter);
    expect(Object.values(checks).filter(({ outcome }) => outcome === 'failed')).toEqual([]);
    expect(status).toBe(0);
    expect(checks['base weights']?.outcome).toBe('passed');
    expect(checks['recorded answers']?.outcome).toBe('passed');
    const record = await readRecord(localDirectory(adapter));
    expect(record?.replays).toHaveLength(3);
    expect(record?.base.quantization).toMatchObject({ bnb_4bit_quant_type: 'nf4' });
    expect(record?.data).toMatchObject([
      { part: 'train', rows: 24, files: { 'train.jsonl': expect.stringMatching(/^[0-9a-f]{64}$/) as string } },
    ]);
  });

  it('writes a model card that says how to load it', async () => {
    const card = await readFile(join(adapter, 'README.md'), 'utf8');
    const [, front = '', body = ''] = card.split(/^---$/m);
    expect(parse(front)).toEqual({ library_name: 'peft', pipeline_tag: 'text-generation', tags: ['lora', 'lowrank'] });
    for (const part of [
      '# lora adapter for model',
      '## Data',
      '| train | train.jsonl | 24 |',
      'load_in_4bit: true',
      'PeftModel.from_pretrained',
      'bnb_4bit_quant_type="nf4"',
      "from 'lowrank/node'",
    ])
      expect(body).toContain(part);
    expect(card).not.toContain(folder);
  });

  it('names another base, a broken tensor file, and other answers', async () => {
    const other = await writeTinyModel(join(folder, 'other'), 2);
    const swapped = await verify(adapter, other);
    expect(swapped.status).toBe(3);
    expect(swapped.checks['base weights']).toMatchObject({ outcome: 'failed' });
    expect(swapped.checks['recorded answers']).toMatchObject({ outcome: 'failed' });

    const broken = join(folder, 'broken');
    await cp(adapter, broken, { recursive: true });
    const bytes = await readFile(join(broken, 'adapter_model.safetensors'));
    bytes.writeFloatLE(NaN, bytes.length - 4);
    await writeFile(join(broken, 'adapter_model.safetensors'), bytes);
    const nan = await verify(broken);
    expect(nan.status).toBe(3);
    expect(nan.checks['finite values']).toMatchObject({ outcome: 'failed' });
    expect(nan.checks['recorded answers']).toMatchObject({ outcome: 'skipped' });
  });

  it('says what it cannot know of an adapter made elsewhere, and lists every tensor that does not fit', async () => {
    const bare = join(folder, 'bare');
    await cp(adapter, bare, { recursive: true });
    await rm(join(bare, 'training_record.json'));
    const { status, checks } = await verify(bare);
    expect(status).toBe(0);
    expect(checks['training record']).toMatchObject({ outcome: 'skipped' });

    const config = JSON.parse(await readFile(join(bare, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    await writeFile(join(bare, 'adapter_config.json'), JSON.stringify({ ...config, target_modules: ['q_proj'] }));
    const unfit = await verify(bare);
    expect(unfit.status).toBe(3);
    // Six of the seven linear layers of two layers, A and B each.
    expect(unfit.checks['tensors fit the model']?.details).toHaveLength(24);
    await copyFile(join(adapter, 'adapter_config.json'), join(bare, 'adapter_config.json'));
  });
});
