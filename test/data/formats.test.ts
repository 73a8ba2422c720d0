import { describe, expect, it } from 'vitest';

import { describeFormat, describeFormats, detectFormat } from '../../src/data/formats.js';
import { loadSplits, splitIndices } from '../../src/data/split.js';
import { renderExample } from '../../src/data/show.js';
import { loadTextRows } from '../../src/data/dataset.js';
import { allExamples, type Example } from '../../src/data/examples.js';
import { ConfigError } from '../../src/errors.js';
import { smallTokenizer } from '../tokenizer/fixture.js';

describe('detectFormat', () => {
  it.each([
    [{ text: '' }, 'text'],
    [{ prompt: '', completion: '' }, 'completion'],
    [{ messages: [] }, 'messages'],
    [{ instruction: '', output: '', text: '' }, 'alpaca'],
    [{ input_ids: [], text: '' }, 'tokens'],
    [{ prompt: '' }, undefined],
    [{}, undefined],
  ])('%j is %s', (row, format) => {
    expect(detectFormat(row)).toBe(format);
  });

  it('describes every format in a line', () => {
    for (const format of ['text', 'completion', 'messages', 'alpaca', 'tokens', 'template'] as const) {
      expect(describeFormat(format)).toMatch(new RegExp(`^${format}: [^\\n]+$`));
      expect(describeFormats()).toContain(describeFormat(format));
    }
  });
});

describe('loadTextRows', () => {
  it('gives prompt, completion and fields', async () => {
    const tokenizer = await smallTokenizer();
    const messages = [
      { role: 'user', content: 'q' },
      { role: 'assistant', content: 'a' },
    ];
    const [chat] = await loadTextRows({ source: { name: 'rows', rows: [{ messages }] }, tokenizer });
    expect(chat).toMatchObject({
      prompt: '<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n',
      completion: 'a',
      row: 1,
      chat: true,
    });
    const rows = [{ a: 'x', b: 'y', more: [1] }];
    const [plain] = await loadTextRows({
      source: { name: 'rows', rows },
      options: { prompt_field: 'a', completion_field: 'b' },
    });
    expect(plain).toMatchObject({ prompt: 'x', completion: 'y', text: 'xy', fields: rows[0] });
    await expect(loadTextRows({ source: { name: 'rows', rows: [{ input_ids: [1] }] } })).rejects.toThrow(ConfigError);
  });
});

describe('loadSplits', () => {
  const source = (name: string, count: number): { name: string; rows: unknown[] } => ({
    name,
    rows: Array.from({ length: count }, (_, i) => ({ input_ids: [i, i] })),
  });

  it('takes files or a part', async () => {
    const files = await loadSplits({
      train: [source('a', 3), source('b', 2)],
      validation: source('v', 4),
      test: source('t', 1),
    });
    expect([files.train, files.validation, files.test].map((set) => set?.stats.rows)).toEqual([5, 4, 1]);
    expect((await allExamples(files.train.examples)).map(({ source: name, row }) => `${name}${row}`)).toEqual([
      'a1',
      'a2',
      'a3',
      'b1',
      'b2',
    ]);
    const part = await loadSplits({ train: source('a', 10), options: { validation_split: 3, seed: 5 } });
    expect([part.train.stats.tokens, part.validation?.stats.tokens, part.test]).toEqual([14, 6, undefined]);
    expect((await allExamples(part.validation?.examples ?? [])).map(({ row }) => row)).toEqual(
      [...splitIndices(10, 3, 5).validation].map((i) => i + 1),
    );
    const both = loadSplits({ train: source('a', 3), validation: source('v', 1), options: { validation_split: 1 } });
    await expect(both).rejects.toThrow(ConfigError);
  });
});

describe('renderExample', () => {
  it('marks what is learnt, between given marks', async () => {
    const tokenizer = await smallTokenizer();
    const inputIds = Int32Array.from(tokenizer.encode('the end'));
    const labels = inputIds.map((id, i) => (i % 2 === 1 ? id : -100));
    const shown = renderExample({ inputIds, labels } satisfies Pick<Example, 'inputIds' | 'labels'>, tokenizer, {
      open: '[',
      close: ']',
    });
    expect(shown).toBe('<s>[t]h[e] [e]n[d]');
  });
});
