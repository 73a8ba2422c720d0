import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';
import { countingRows, toJsonl, writeTinyModel } from '../support/tiny-model.js';

let folder = '';
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-combine-'));
  await writeTinyModel(at('model'));
  await writeFile(at('train.jsonl'), toJsonl(countingRows(16, 1)));
  for (const [name, r] of [
    ['one', 2],
    ['two', 4],
  ] as const) {
    await writeFile(
      at(`${name}.json`),
      JSON.stringify({
        model: './model',
        device: 'wasm',
        adapter: { r },
        data: { train: './train.jsonl' },
        training: { output_dir: `./${name}`, max_steps: 6, learning_rate: 0.02, seed: r },
      }),
    );
    const { status, stderr } = await lowrank('train', at(`${name}.json`));
    expect(status, stderr).toBe(0);
  }
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function losses(...adapters: string[]): Promise<Record<string, number>> {
  const { stdout, stderr, status } = await lowrank(
    'eval',
    '--model',
    at('model'),
    '--data',
    at('train.jsonl'),
    '--device',
    'wasm',
    '--json',
    ...adapters.flatMap((path) => ['--adapter', path]),
  );
  expect(status, stderr).toBe(0);
  return Object.fromEntries(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { adapter?: string; loss: number })
      .map(({ adapter = 'only', loss }) => [adapter, loss]),
  );
}

describe('several adapters at the command line', () => {
  it('are evaluated side by side', async () => {
    const side = await losses(at('one'), `second=${at('two')}`);
    expect(Object.keys(side)).toEqual(['base', 'one', 'second']);
    expect(side['one']).toBe((await losses(at('one')))['only']);
    expect(side['second']).toBeLessThan(side['base'] as number);
  });

  it('answer each its own request, as they do alone', async () => {
    const requests = [
      { prompt_tokens: [3, 4, 5], adapter: 'one' },
      { prompt_tokens: [9, 10], adapter: null },
      { prompt_tokens: [7, 8, 9], adapter: 'two' },
      { prompt_tokens: [3, 4, 5], adapter: 'two' },
    ];
    await writeFile(at('requests.jsonl'), toJsonl(requests));
    const common = ['generate', '--model', at('model'), '--device', 'wasm', '--max-new-tokens', '6', '--json'];
    const { stdout, stderr, status } = await lowrank(
      ...common,
      '--adapter',
      at('one'),
      at('two'),
      '--requests',
      at('requests.jsonl'),
    );
    expect(status, stderr).toBe(0);
    const answers = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { tokens: number[]; adapter: string | null });
    expect(answers.map(({ adapter }) => adapter)).toEqual(['one', null, 'two', 'two']);
    for (const [i, { prompt_tokens: ids, adapter }] of requests.entries()) {
      const alone = await lowrank(
        ...common,
        '--prompt-tokens',
        ids.join(','),
        ...(adapter === null ? [] : ['--adapter', at(adapter)]),
      );
      expect((JSON.parse(alone.stdout) as { tokens: number[] }).tokens).toEqual(answers[i]?.tokens);
    }
    await writeFile(at('unknown.jsonl'), toJsonl([{ prompt_tokens: [1], adapter: 'three' }]));
    const unknown = await lowrank(...common, '--adapter', at('one'), '--requests', at('unknown.jsonl'));
    expect(unknown).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('no --adapter is called three') as string,
    });
    await writeFile(at('bad.jsonl'), '{"prompt": 1}\n{"prompt_tokens": [1]}\n{}\n');
    expect(await lowrank(...common, '--requests', at('bad.jsonl'))).toMatchObject({
      status: 3,
      stderr: expect.stringContaining('line 1, line 3') as string,
    });
  });

  it('combine into one that PEFT’s fields describe', async () => {
    const { status, stderr } = await lowrank('combine', at('one'), at('two'), '--weights', '0.5,0.5', '-o', at('both'));
    expect(status, stderr).toBe(0);
    expect(JSON.parse(await readFile(join(at('both'), 'adapter_config.json'), 'utf8'))).toMatchObject({
      peft_type: 'LORA',
      r: 6,
      lora_alpha: 6,
    });
    const { base, both } = await losses(at('both'), at('one'));
    expect(both).toBeLessThan(base as number);
    // At full rank the singular value decomposition loses nothing.
    expect(
      (
        await lowrank(
          'combine',
          at('one'),
          at('two'),
          '--weights',
          '0.5,0.5',
          '--type',
          'svd',
          '--rank',
          '6',
          '-o',
          at('svd'),
        )
      ).status,
    ).toBe(0);
    expect((await losses(at('svd')))['only']).toBeCloseTo(both as number, 5);
    expect(await lowrank('combine', at('one'), at('two'), '--type', 'linear', '-o', at('sum'))).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('linear needs equal ones') as string,
    });
    expect(await lowrank('combine', at('one'), at('two'), '-o', at('both'))).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('--overwrite') as string,
    });
  });
});
