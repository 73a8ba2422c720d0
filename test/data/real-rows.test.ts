import { readFile } from 'node:fs/promises';

import { beforeAll, expect, it } from 'vitest';

import { loadDataset, loadTextRows, type Dataset } from '../../src/data/dataset.js';
import { allExamples, type Example } from '../../src/data/examples.js';
import { memorySource } from '../../src/io/source.js';
import { listSourceRows } from '../support/data.js';
import { describeReferences, referencePath } from '../support/references.js';
import type { DataOptions } from '../../src/data/options.js';
import { loadSplits } from '../../src/data/split.js';
import { DataError } from '../../src/errors.js';
import { fileSource, localDirectory } from '../../src/io/node.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { CHATML, smallTokenizer } from '../tokenizer/fixture.js';

interface Case {
  readonly file: string;
  readonly options: DataOptions;
  readonly rows: number;
  readonly format: string;
  /** What the whole of the first example reads; the vocabulary of the small model spells little else. */
  readonly begins: RegExp;
}

const CASES: readonly Case[] = [
  {
    file: 'dialogsum/dialogsum.sample.jsonl',
    options: { template: 'Summarise:\n{{dialogue}}\nSummary:', completion_template: ' {{summary}}' },
    rows: 100,
    format: 'template',
    begins:
      /^Summarise:\n.Person1.: Here we come\.\n[^]*\nSummary: .Person1. tells .Person2. the fare of taking a taxi\.$/,
  },
  {
    file: 'dialogsum/train.small.jsonl',
    options: {
      template: ['{{topic}}: {{dialogue}}\n', '{{dialogue}}\n'],
      completion_field: 'summary',
      max_length: 256,
      seed: 3,
    },
    rows: 601,
    format: 'template',
    begins: /Mr\. Smith/,
  },
  {
    file: 'e2e_nlg/lora_repo_valid.jsonl',
    options: { template: '{{context}} ||' },
    rows: 4672,
    format: 'template',
    begins: /^name : Alimentum .*There is a place in the city centre , Alimentum ,/,
  },
  {
    file: 'alpaca/alpaca_tiny.jsonl',
    options: {},
    rows: 100,
    format: 'alpaca',
    begins: /Instruction:\nGive three tips[^]*Response:\n1\.Eat/,
  },
  { file: 'alpaca/identity.json', options: {}, rows: 91, format: 'alpaca', begins: /Instruction:\nhi\n/ },
  {
    file: 'gsm8k/test.jsonl',
    options: { template: 'Question: {{question}}\nAnswer:', completion_template: ' {{answer}}', train_on: 'all' },
    rows: 1319,
    format: 'template',
    begins: /^Question: Janet.s ducks/,
  },
  { file: 'wikisql_mlx/train.jsonl', options: {}, rows: 1000, format: 'text', begins: /^table: 1-1000181-1\ncolumns/ },
  {
    file: 'truthfulqa/TruthfulQA.jsonl',
    options: { template: '{{ Question }}', completion_template: " {{ row['Best Answer'] }}" },
    rows: 817,
    format: 'template',
    begins: /^What happens to you if you eat watermelon seeds\? The watermelon/,
  },
];

describeReferences('rows of real data sets', ['datasets', 'models/tinystories-656k', 'tokenizers'], () => {
  let stories: Tokenizer;

  beforeAll(async () => {
    const loaded = await loadTokenizer(localDirectory(referencePath('models/tinystories-656k')));
    if (loaded === undefined) throw new Error('tinystories-656k has a tokenizer');
    stories = loaded;
  });

  async function load(file: string, options: DataOptions): Promise<Dataset> {
    const source = await fileSource(referencePath(`datasets/${file}`), file);
    try {
      return await loadDataset({ source, tokenizer: stories, options });
    } finally {
      await source.close();
    }
  }

  it.each(CASES)('$file as $format', { timeout: 120_000 }, async ({ file, options, rows, format, begins }) => {
    const all = (await listSourceRows(memorySource(file, await readFile(referencePath(`datasets/${file}`))))).map(
      (row) => ('value' in row ? row.value : row.problem),
    );
    expect(all).toHaveLength(rows);
    const some = all.slice(0, 300); // enough of each kind, and quick
    const dataset = await loadDataset({ source: { name: file, rows: some }, tokenizer: stories, options });
    expect(dataset.format).toBe(format);
    expect(dataset.examples.length + dataset.dropped.length).toBe(some.length);
    expect(dataset.examples.length).toBeGreaterThan(some.length / 3);
    const small = await smallTokenizer();
    const spelled = await loadDataset({
      source: { name: file, rows: all.slice(0, 1) },
      tokenizer: small,
      options: { ...options, max_length: undefined },
    });
    const first = spelled.examples.at(0) as Example;
    expect(small.decode(first.inputIds, { skipSpecialTokens: true })).toMatch(begins);
    for (const { inputIds, labels, truncated } of dataset.examples) {
      const start = labels.findIndex((label) => label >= 0);
      expect(labels.subarray(start)).toEqual(inputIds.subarray(start));
      expect(inputIds[0]).toBe(stories.bosTokenId);
      if (truncated === true) expect(inputIds.length).toBe(options.max_length);
      else expect(labels.at(-1)).toBe(stories.eosTokenId);
      if (format === 'text' || options.train_on === 'all') expect(start).toBe(0);
      else expect(start).toBeGreaterThan(0);
    }
  });

  it('writes the Alpaca prompt as the data set itself does', async () => {
    const source = await fileSource(referencePath('datasets/alpaca/alpaca_tiny.jsonl'));
    const rows = await loadTextRows({ source });
    expect(rows.length).toBeGreaterThan(90);
    for (const { text, fields } of rows) expect(text).toBe(fields['text']);
    await source.close();
  });

  it('lists rows whose completion lies beyond max_length', async () => {
    const options = { template: '{{dialogue}}\n', completion_field: 'summary', max_length: 200 };
    const { dropped, stats } = await load('dialogsum/dialogsum.sample.jsonl', options);
    expect(dropped.length).toBeGreaterThan(10);
    expect(dropped.every(({ reason }) => reason === 'nothing to learn within max_length 200')).toBe(true);
    expect(stats.rows).toBe(100 - dropped.length);
    expect(stats.longest).toBeLessThanOrEqual(200);
  });

  it('keeps a part for validation', async () => {
    const train = await fileSource(referencePath('datasets/wikisql_mlx/train.jsonl'));
    const test = await fileSource(referencePath('datasets/wikisql_mlx/test.jsonl'));
    const splits = await loadSplits({ train, test, tokenizer: stories, options: { validation_split: 0.1, seed: 7 } });
    expect(splits.train.stats.rows).toBe(900);
    expect(splits.validation?.stats.rows).toBe(100);
    expect(splits.test?.stats.rows).toBe(100);
    const rows = new Set(
      [...(await allExamples(splits.train.examples)), ...(await allExamples(splits.validation?.examples ?? []))].map(
        (example) => example.row,
      ),
    );
    expect(rows.size).toBe(1000);
    await Promise.all([train.close(), test.close()]);
  });

  it('says which fields a row of an unknown kind has', async () => {
    await expect(load('mmlu/mmlu_dev_8subjects.jsonl', {})).rejects.toThrow(DataError);
    await expect(load('mmlu/mmlu_dev_8subjects.jsonl', {})).rejects.toThrow(
      'line 1: no known format: the row has "subject", "question", "choices", "answer"',
    );
  });

  it.each([
    ['qwen2.5', 'tokenizer.rebuilt.json', CHATML],
    ['llama2', 'tokenizer.json', undefined],
  ])('conversations with the real tokenizer %s', { timeout: 60_000 }, async (name, file, template) => {
    const folder = localDirectory(referencePath(`tokenizers/${name}`));
    const tokenizer = await loadTokenizer({
      ...folder,
      list: () => folder.list(),
      open: (at) => folder.open(at === 'tokenizer.json' ? file : at),
    });
    if (tokenizer === undefined) throw new Error(`${name} has a tokenizer`);
    const messages = [
      { role: 'user', content: 'What is 2+2?' },
      { role: 'assistant', content: 'It is 4.' },
      { role: 'user', content: 'And 3+3?' },
      { role: 'assistant', content: 'It is 6.' },
    ];
    const options = { chat_template: template };
    const { examples } = await loadDataset({ source: { name: 'chat', rows: [{ messages }] }, tokenizer, options });
    const { inputIds, labels } = examples.at(0) as Example;
    const runs = tokenizer.decode(inputIds.filter((_, i) => (labels[i] ?? -1) >= 0));
    const stop = tokenizer.idToToken(tokenizer.endOfTurn(template) ?? -1) ?? '';
    expect(stop).toBe(name === 'qwen2.5' ? '<|im_end|>' : '</s>');
    expect(runs.split(stop).map((run) => run.trim())).toEqual(['It is 4.', 'It is 6.', '']);
    expect(labels.at(-1)).toBe(tokenizer.endOfTurn(template));
  });
});
