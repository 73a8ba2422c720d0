import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';
import { toJsonl } from '../support/tiny-model.js';

const BASE = resolve('configs/quickstart/base');
let folder: string;
let config: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowrank-data-verb-'));
  // A model of which only what describes it is here.
  await mkdir(join(folder, 'model'));
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json'])
    await copyFile(join(BASE, name), join(folder, 'model', name));
  await writeFile(
    join(folder, 'pairs.jsonl'),
    toJsonl([
      { prompt: 'Q: one\nA:', completion: ' two' },
      { prompt: 'Q: three\nA:', completion: '' },
      { prompt: 'Q: four\nA:', completion: ' five' },
    ]),
  );
  await writeFile(join(folder, 'rows.csv'), `question,answer\n"a, b",c\nd,"${'long '.repeat(80)}"\n`);
  config = join(folder, 'run.yaml');
  const entries =
    '[{path: pairs.jsonl, weight: 3}, {path: rows.csv, name: table, weight: 1, prompt_field: question, completion_field: answer}]';
  await writeFile(
    config,
    `model: ./model\ndata:\n  train: ${entries}\n  validation: pairs.jsonl\n  max_length: 64\ntraining: {output_dir: out}\n`,
  );
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('lowrank data', () => {
  it('shows rows, tokens, lengths and samples without any weights', async () => {
    const { status, stdout, stderr } = await lowrank('data', config, '--samples', '2');
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^train +format +rows +tokens +supervised +longest +truncated +dropped +drawn an epoch\n/);
    expect(stdout).toMatch(/\ntable +template +2 +\d+ +\d+ +64 +1 +0 +1\n/);
    expect(stdout).toMatch(/\ntogether +4 +\d+ +\d+ +64 +1 +1 +4\n/);
    expect(stdout).toContain(`dropped ${join(folder, 'pairs.jsonl')}, row 2: the completion is empty`);
    expect(stdout).toMatch(/row 1: \d+ tokens, \d+ supervised\n.*Q: one\nA:⟦ two.*⟧/);
    expect(stdout).toMatch(/rows\.csv, row 3: 64 tokens, \d+ supervised, truncated\n/);
    expect(stdout).toMatch(/\nvalidation +format/);
    expect(stdout).not.toContain('\x1b');
  });

  it('prints the same as JSON, packed and streamed or not', async () => {
    const { status, stdout } = await lowrank('data', config, '--json', '--set', 'data.packing=true');
    expect(status).toBe(0);
    const report = JSON.parse(stdout) as Record<
      string,
      {
        rows: number;
        tokens: number;
        packed: { rows: number; filled: number } | null;
        datasets: Record<string, unknown>[];
      }
    >;
    expect(report['train']).toMatchObject({ rows: 4, truncated: 1, longest: 64 });
    expect(report['train']?.packed?.rows).toBe(3);
    expect(report['train']?.datasets.map((part) => [part['weight'], part['drawn_per_epoch']])).toEqual([
      [3, 2],
      [1, 1],
    ]);
    expect(report['train']?.datasets[0]).toMatchObject({
      format: 'completion',
      rows: 2,
      dropped: [{ row: 2, reason: 'the completion is empty' }],
      samples: [{ row: 1, truncated: false }],
    });
    expect(report['validation']).toMatchObject({ rows: 2, packed: null });
    const streamed = await lowrank('data', config, '--json', '--set', 'data.streaming=true');
    const plain = await lowrank('data', config, '--json');
    expect(streamed.stdout).toBe(plain.stdout);
  });

  it('says what looks wrong', async () => {
    const rows = Array.from({ length: 9 }, (_, i) => ({
      messages: [
        { role: 'user', content: `Q ${i % 4}` },
        { role: 'assistant', content: 'A' },
      ],
    }));
    await writeFile(join(folder, 'chat.jsonl'), toJsonl(rows));
    await writeFile(join(folder, 'held.jsonl'), toJsonl(rows.slice(3, 6)));
    await writeFile(
      config,
      'model: ./model\ndata: {train: chat.jsonl, validation: held.jsonl, chat_template: phi3}\ntraining: {output_dir: out}\n',
    );
    const { status, stdout } = await lowrank('data', config);
    expect(status).toBe(0);
    const at = join(folder, 'chat.jsonl');
    expect(stdout).toContain(
      `! ${at}, 9 rows (rows 1, 2, 3, …): markers of the chat template are no tokens of this tokenizer and fall into pieces: <|user|> into `,
    );
    expect(stdout).toContain('Add them: adapter.added_tokens: ["<|user|>", "<|end|>", "<|assistant|>"]');
    expect(stdout).toContain(
      `! ${at}, 5 rows (rows 5, 6, 7, …): repeat an earlier row token by token (4 different ones)`,
    );
    expect(stdout).toMatch(/! [^\n]*held\.jsonl, 3 rows \(rows 1, 2, 3\): are among the training rows too/);
    const added = await lowrank(
      'data',
      config,
      '--json',
      '--set',
      'adapter.added_tokens=["<|user|>", "<|assistant|>", "<|end|>"]',
    );
    const kinds = (
      JSON.parse(added.stdout) as { train: { findings: { kind: string; count: number }[] } }
    ).train.findings.map(({ kind, count }) => [kind, count]);
    expect(kinds).toContainEqual(['duplicates', 5]);
    expect(kinds.map(([kind]) => kind)).not.toContain('marker in pieces');
  });

  it('tells what is wrong with rows and settings', async () => {
    await writeFile(join(folder, 'rows.csv'), 'question,answer\na\n');
    const wrong = await lowrank('data', config);
    expect(wrong.status).toBe(3);
    expect(wrong.stderr).toContain('rows.csv, line 2: 1 values, but the first line names 2 fields');
    const both = await lowrank('data', config, '--set', 'data.template="{{ a }}"', '--set', 'data.prompt_field=b');
    expect(both.status).toBe(2);
    expect(both.stderr).toContain('data.prompt_field contradicts data.template: give one of the two');
  });
});
