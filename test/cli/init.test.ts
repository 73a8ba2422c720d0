import { spawn, spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { bundleLowrank, lowrank } from '../support/cli.js';
import { toJsonl } from '../support/tiny-model.js';

interface Written {
  readonly model: string;
  readonly quantization: { readonly load_in_4bit: boolean };
  readonly data: Readonly<Record<string, unknown>>;
  readonly training: Readonly<Record<string, unknown>>;
}

let root = '';
const at = (...parts: string[]): string => join(root, ...parts);
const noScript = /-c, --command/.test(spawnSync('script', ['--help'], { encoding: 'utf8' }).stdout ?? '')
  ? undefined
  : 'no script(1) of util-linux';

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'lowrank-init-'));
  await mkdir(at('models'));
  await cp(resolve('configs/quickstart/base'), at('models/base'), { recursive: true });
});
afterAll(() => rm(root, { recursive: true, force: true }));

const many = <T>(row: (i: number) => T, count = 24): T[] => Array.from({ length: count }, (_, i) => row(i));
const user = (i: number): unknown => ({ role: 'user', content: `Who is ${i}?` });
const assistant = (i: number): unknown => ({ role: 'assistant', content: `Tom is ${i}.` });
const dialogue = (i: number): string => `Anna: we meet at ${i}.\nTom: fine.`;

interface Form {
  readonly name: string;
  /** Path of the data below the folder, as it is given. */
  readonly data: string;
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  /** What the section `data` of the config says. */
  readonly expected: Readonly<Record<string, unknown>>;
  readonly format: string;
}

const FORMS: readonly Form[] = [
  {
    name: 'text',
    data: 't.jsonl',
    files: { 't.jsonl': toJsonl(many((i) => ({ text: dialogue(i) }))) },
    expected: { validation_split: 0.1 },
    format: 'text',
  },
  {
    name: 'lines',
    data: 'lines.txt',
    files: { 'lines.txt': many((i) => `Anna meets Tom at ${i}.`).join('\n') },
    expected: {},
    format: 'text',
  },
  {
    name: 'completion',
    data: 'c.json',
    files: { 'c.json': JSON.stringify(many((i) => ({ prompt: `Q ${i}\nA:`, completion: ` ${i}` }))) },
    expected: {},
    format: 'completion',
  },
  {
    name: 'completion_messages',
    data: 'cm.jsonl',
    files: { 'cm.jsonl': toJsonl(many((i) => ({ prompt: [user(i)], completion: [assistant(i)] }))) },
    expected: { chat_template: 'chatml' },
    format: 'completion_messages',
  },
  {
    name: 'messages, compressed',
    data: 'm.jsonl.gz',
    files: { 'm.jsonl.gz': gzipSync(toJsonl(many((i) => ({ messages: [user(i), assistant(i)] })))) },
    expected: { chat_template: 'chatml' },
    format: 'messages',
  },
  {
    name: 'sharegpt',
    data: 's.json',
    files: {
      's.json': JSON.stringify(
        many((i) => ({
          conversations: [
            { from: 'human', value: `Hi ${i}` },
            { from: 'gpt', value: 'Hello' },
          ],
        })),
        null,
        2,
      ),
    },
    expected: { chat_template: 'chatml' },
    format: 'sharegpt',
  },
  {
    name: 'alpaca',
    data: 'a.jsonl',
    files: { 'a.jsonl': toJsonl(many((i) => ({ instruction: `Sum up ${i}`, input: '', output: 'Done' }))) },
    expected: {},
    format: 'alpaca',
  },
  {
    name: 'alpaca_chat',
    data: 'ac.jsonl',
    files: {
      'ac.jsonl': toJsonl(many((i) => ({ instruction: `Sum up ${i}`, output: 'Done', history: [['a', 'b']] }))),
    },
    expected: { chat_template: 'chatml' },
    format: 'alpaca_chat',
  },
  {
    name: 'tokens',
    data: 'ids.jsonl',
    files: { 'ids.jsonl': toJsonl(many((i) => ({ input_ids: [1, 5, 6 + i, 9] }))) },
    expected: {},
    format: 'tokens',
  },
  {
    name: 'a table whose names have blanks',
    data: 'my rows.csv',
    files: {
      'my rows.csv': `ID,Dialogue Text,"User's answer"\n${many((i) => `${i},"Anna: ${i}, or not",Tom ${i}`).join('\n')}\n`,
    },
    expected: {
      template: `Dialogue Text: {{ row['Dialogue Text'] }}\n\nUser's answer:`,
      completion_template: ` {{ row["User's answer"] }}`,
    },
    format: 'template',
  },
  {
    name: 'a table with gaps and a number',
    data: 'g.tsv',
    files: {
      'g.tsv': `question\tcontext\tnote\tanswer\n${many((i) => `Who is ${i}?\t${i % 3 === 0 ? '' : 'Tom came.'}\t${i}\t${i === 4 ? '' : `Tom ${i}`}`).join('\n')}\n`,
    },
    expected: {
      template:
        "question: {{ question }}\n\n{% if row['context'] %}context: {{ row['context'] }}\n\n{% endif %}answer:",
      completion_template: " {{ row['answer'] if row['answer'] is not none else '' }}",
    },
    format: 'template',
  },
  {
    name: 'Parquet with nulls',
    data: 'p.parquet',
    files: {
      'p.parquet': new Uint8Array(
        parquetWriteBuffer({
          columnData: [
            { name: 'if', data: many(dialogue), type: 'STRING' },
            { name: 'n', data: many((i) => i), type: 'INT32' },
            { name: 'summary', data: many((i) => (i === 3 ? null : `Tom ${i}`)), type: 'STRING' },
          ],
        }),
      ),
    },
    expected: {
      template: "if: {{ row['if'] }}\n\nsummary:",
      completion_template: " {{ row['summary'] if row['summary'] is not none else '' }}",
    },
    format: 'template',
  },
  {
    name: 'a label beside a text',
    data: 'l.jsonl',
    files: { 'l.jsonl': toJsonl(many((i) => ({ text: dialogue(i), label: i % 2 }))) },
    expected: { template: 'text: {{ text }}\n\nlabel:', completion_template: ' {{ label }}' },
    format: 'template',
  },
  {
    name: 'two columns without telling names',
    data: 'q.jsonl',
    files: { 'q.jsonl': toJsonl(many((i) => ({ german: `Hallo ${i}`, english: `Hello ${i}`, extra: [i] }))) },
    expected: { template: 'german: {{ german }}\n\nenglish:', completion_template: ' {{ english }}' },
    format: 'template',
  },
  {
    name: 'one column',
    data: 'one.csv',
    files: { 'one.csv': `story\n${many((i) => `Anna met ${i}`).join('\n')}\n` },
    expected: { text_field: 'story' },
    format: 'template',
  },
  {
    name: 'few rows',
    data: 'few.jsonl',
    files: { 'few.jsonl': toJsonl(many((i) => ({ text: dialogue(i) }), 3)) },
    expected: { validation_split: undefined },
    format: 'text',
  },
  {
    name: 'a folder with a split',
    data: 'set',
    files: {
      'set/train-0.jsonl': toJsonl(many((i) => ({ text: dialogue(i) }))),
      'set/validation.jsonl': toJsonl(many((i) => ({ text: `Tom ${i}` }), 4)),
    },
    expected: { train: '../data/set', validation: '../data/set', validation_split: undefined },
    format: 'text',
  },
  {
    name: 'a pattern',
    data: 'parts/*.jsonl',
    files: {
      'parts/a.jsonl': toJsonl(many((i) => ({ dialogue: dialogue(i), summary: `Tom ${i}` }))),
      'parts/b.jsonl': toJsonl([{ dialogue: 'Anna: hi', summary: 'Hi.', id: 7 }]),
    },
    expected: { train: '../data/parts/*.jsonl', completion_template: ' {{ summary }}' },
    format: 'template',
  },
];

describe('lowrank init', () => {
  it.each(FORMS)('writes a config that trains as it is: $name', async ({ data, files, expected, format }) => {
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(at('data', name)), { recursive: true });
      await writeFile(at('data', name), content);
    }
    const config = at('configs', `${data.replace(/\W/g, '-')}.yaml`);
    const { status, stdout, stderr } = await lowrank(
      'init',
      at('data', data),
      '--model',
      at('models/base'),
      '-o',
      config,
      '--yes',
    );
    expect(status, stderr).toBe(0);
    expect(stdout).toContain(`lowrank data ${config}\n  lowrank train ${config}\n`);
    const text = await readFile(config, 'utf8');
    const written = parse(text) as Written;
    expect(written.model).toBe('../models/base');
    expect(written.quantization.load_in_4bit).toBe(false);
    for (const [option, value] of Object.entries(expected)) expect(written.data[option], option).toEqual(value);
    const shown = await lowrank('data', config, '--json');
    expect(shown.status, shown.stderr).toBe(0);
    const report = JSON.parse(shown.stdout) as {
      train: { rows: number; truncated: number; datasets: { format: string }[] };
    };
    expect(report.train.datasets[0]?.format).toBe(format);
    expect(report.train.truncated).toBe(0);
    const trained = await lowrank('train', config, '--set', 'training.max_steps=2', '--set', 'device=wasm');
    expect(trained.status, trained.stderr).toBe(0);
  });

  it('says what it chose, and why', async () => {
    await writeFile(at('why.jsonl'), toJsonl(many((i) => ({ id: i, dialogue: dialogue(i), summary: `Tom ${i}` }), 60)));
    const config = at('why.yaml');
    expect((await lowrank('init', at('why.jsonl'), '--model', at('models/base'), '-o', config)).status).toBe(0);
    const text = await readFile(config, 'utf8');
    expect(text).toContain('# 60 rows, columns id, dialogue, summary');
    expect(text).toContain('# Prompt: dialogue. Learnt is summary (by its name).');
    expect(text).toContain('# Not used: id.');
    expect(text).toMatch(/# Tokens of a row: half have at most \d+, 95% at most \d+, the longest \d+\./);
    expect(text).toContain('# 54 rows in batches of 4 are 14 steps an epoch, 70 in all.');
    expect(text).toMatch(/# 1\.\d million parameters, context \d+/);
  });

  it('replaces nothing without --force, and needs no model', async () => {
    await writeFile(at('again.jsonl'), toJsonl([{ text: 'a' }]));
    const config = at('again.yaml');
    await writeFile(config, 'mine');
    const refused = await lowrank('init', at('again.jsonl'), '-o', config);
    expect(refused).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(`${config} is there already`) as string,
    });
    expect(await readFile(config, 'utf8')).toBe('mine');
    await mkdir(at('out/again'), { recursive: true });
    expect((await lowrank('init', at('again.jsonl'), '-o', config, '--force')).status).toBe(0);
    const text = await readFile(config, 'utf8');
    expect((parse(text) as Written).training['output_dir']).toBe('./out/again-2');
    expect((parse(text) as Written).model).toBe('HuggingFaceTB/SmolLM2-135M-Instruct');
    expect(text).toContain('# No model was named.');
  });

  it('says what is wrong with the data', async () => {
    await writeFile(at('bad.csv'), 'a,b\n1\n');
    expect(await lowrank('init', at('bad.csv'), '-o', at('bad.yaml'))).toMatchObject({
      status: 3,
      stderr: expect.stringContaining('bad.csv, line 2') as string,
    });
    await writeFile(at('numbers.jsonl'), toJsonl([{ a: 1, b: [2] }]));
    expect(await lowrank('init', at('numbers.jsonl'), '-o', at('bad.yaml'))).toMatchObject({
      status: 3,
      stderr: expect.stringContaining('no column of the rows holds text (columns: "a", "b")') as string,
    });
    expect(await lowrank('init', at('absent.csv'), '-o', at('bad.yaml'))).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('absent.csv: no such file') as string,
    });
  });

  it.skipIf(noScript !== undefined)('asks in a terminal, where Enter takes the proposal', async () => {
    await writeFile(at('asked.jsonl'), toJsonl(many((i) => ({ a: `x ${i}`, b: `y ${i}`, c: `z ${i}` }))));
    const bundle = await bundleLowrank();
    try {
      const config = at('asked.yaml');
      const command = [process.execPath, bundle.main, 'init', at('asked.jsonl'), '-o', config]
        .map((word) => `'${word}'`)
        .join(' ');
      const answers: [RegExp, string][] = [
        [/Base model.*: $/, at('models/base')],
        [/shall write \(a, b, c\) \[c\]: $/, 'nothing'],
        [/no such column[^]*: $/, 'b'],
        [/Longest row.*: $/, ''],
        [/Passes over the rows \[5\]: $/, '2'],
      ];
      const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'pipe'] });
      let seen = '';
      child.stdout.on('data', (data: Buffer) => {
        seen += data.toString();
        const [next] = answers;
        if (next === undefined || !next[0].test(seen.replace(/\x1b\[\d*[A-Z]/g, ''))) return;
        answers.shift();
        seen = '';
        child.stdin.write(`${next[1]}\r`);
      });
      const status = await new Promise((done) => child.on('close', done));
      expect(status, seen).toBe(0);
      const written = parse(await readFile(config, 'utf8')) as Written;
      expect(written.data).toMatchObject({
        template: 'a: {{ a }}\n\nc: {{ c }}\n\nb:',
        completion_template: ' {{ b }}',
      });
      expect(written.training).toMatchObject({ num_train_epochs: 2 });
    } finally {
      await bundle.remove();
    }
  });
});
