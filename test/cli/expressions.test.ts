import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';

/** Backtracking over it takes time exponential in a module's path or a row of the letter. */
const MODULES = '(([a-z_.0-9])+)+!';
const BASE = 'configs/quickstart/base';
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-expressions-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('an expression that can take exponential time', () => {
  it('in target_modules of an adapter, read by inspect', async () => {
    const config = { peft_type: 'LORA', r: 2, lora_alpha: 2, target_modules: MODULES };
    const adapter = join(folder, 'adapter');
    await cp('test/golden/transformers-peft/qwen3/golden/lora/adapter', adapter, { recursive: true });
    await writeFile(join(adapter, 'adapter_config.json'), JSON.stringify(config));
    const { status, stdout } = await lowrank('inspect', adapter, '--model', BASE);
    expect(status).toBe(3);
    expect(stdout).toContain(`the expression "${MODULES}" matches no linear layer`);
  });

  it('in target_modules of a config, read by train', async () => {
    const data = join(folder, 'rows.jsonl');
    await writeFile(data, '{"text": "Tom sees a dog."}\n');
    const { status, stderr } = await lowrank(
      'train',
      '--model',
      BASE,
      '--data',
      data,
      '-o',
      join(folder, 'out'),
      '--set',
      `adapter.target_modules="${MODULES}"`,
    );
    expect(status).toBe(2);
    expect(stderr).toContain(`the expression "${MODULES}" matches no linear layer`);
  });

  it('in a tokenizer, read by generate', async () => {
    const model = join(folder, 'model');
    await cp(BASE, model, { recursive: true });
    const file = join(model, 'tokenizer.json');
    const json = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    const pattern = { Regex: '(a+)+$' };
    await writeFile(
      file,
      JSON.stringify({ ...json, pre_tokenizer: { type: 'Split', pattern, behavior: 'Isolated', invert: false } }),
    );
    const { status, stderr } = await lowrank(
      'generate',
      '--model',
      model,
      '--prompt',
      `${'a'.repeat(60)}!`,
      '--max-new-tokens',
      '2',
    );
    expect(status).toBe(3);
    expect(stderr).toMatch(/tokenizer\.json: .* its expression "\(a\+\)\+\$" repeats what repeats/);
  });
});
