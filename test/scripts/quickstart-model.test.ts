import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Tokenizer } from '@huggingface/tokenizers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Row {
  readonly task: 'story' | 'sentiment' | 'question' | 'dialogue' | 'echo';
  readonly prompt: string;
  readonly completion: string;
  readonly key: string;
}
interface Corpus {
  rowsOf(task: Row['task'], count: number, seed: number, split: 'train' | 'held-out'): Row[];
  pretrainingRows(count: number, seed: number, stage?: string): Iterable<Row>;
  readonly MIXES: Readonly<Record<string, object>>;
  splitOf(key: string): 'train' | 'held-out';
}
interface Names {
  splitOfName(name: string): 'train' | 'held-out';
}

const SCRIPTS = path.resolve('scripts/quickstart-model');
const SHIPPED = path.resolve('configs/quickstart');
const load = async (name: string): Promise<unknown> => import(pathToFileURL(path.join(SCRIPTS, name)).href);
const rowsIn = (file: string): { task?: string; prompt: string; completion: string }[] =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { task?: string; prompt: string; completion: string });

let folder = '';
let corpus: Corpus;
let names: Names;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'quickstart-'));
  corpus = (await load('corpus.mjs')) as Corpus;
  names = (await load('names.mjs')) as Names;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('quickstart data', () => {
  it('is what its script writes', { timeout: 60_000 }, () => {
    execFileSync(process.execPath, [path.join(SCRIPTS, 'make-data.mjs'), '-o', folder]);
    for (const name of ['train.jsonl', 'validation.jsonl', 'retain.jsonl']) {
      expect(readFileSync(path.join(folder, name)).equals(readFileSync(path.join(SHIPPED, name))), name).toBe(true);
    }
  });

  it('is small', () => {
    const files = readdirSync(SHIPPED, { recursive: true, encoding: 'utf8' }).filter(
      (name) => !name.endsWith('.safetensors'),
    );
    const bytes = files
      .map((name) => statSync(path.join(SHIPPED, name)))
      .reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
    expect(bytes).toBeLessThan(750_000);
  });

  it('keeps validation apart from training', () => {
    const [train, validation] = [
      rowsIn(path.join(SHIPPED, 'train.jsonl')),
      rowsIn(path.join(SHIPPED, 'validation.jsonl')),
    ];
    expect([train.length, validation.length]).toEqual([1880, 60]);
    const seen = new Set(train.flatMap((row) => [row.prompt, row.completion]));
    expect(validation.filter((row) => seen.has(row.prompt) || seen.has(row.completion))).toEqual([]);
    expect(new Set([...train, ...validation].map((row) => row.prompt)).size).toBe(1940);
  });

  it('has other names in validation and in what is retained than in training', () => {
    const words = (rows: readonly { prompt: string; completion: string }[]): string[] =>
      rows.flatMap((row) => `${row.prompt}${row.completion}`.match(/\p{Lu}\p{L}+/gu) ?? []);
    const speakers = (file: string): Set<string> =>
      new Set(
        rowsIn(path.join(SHIPPED, file))
          .filter((row) => row.prompt.endsWith('Summary:'))
          .flatMap(({ prompt }) => Array.from(prompt.matchAll(/^(\p{Lu}\p{L}+): /gmu), ([, name]) => name as string)),
      );
    const trained = new Set(words(rowsIn(path.join(SHIPPED, 'train.jsonl'))));
    const [seen, unseen] = [speakers('train.jsonl'), speakers('validation.jsonl')];
    expect(seen.size).toBeGreaterThan(1000);
    expect(unseen.size).toBeGreaterThan(60);
    expect([...unseen].filter((name) => trained.has(name))).toEqual([]);
    const pretrained = new Set(
      Object.keys(corpus.MIXES).flatMap((stage) => words([...corpus.pretrainingRows(2000, 1, stage)])),
    );
    expect([...unseen].filter((name) => pretrained.has(name))).toEqual([]);
    for (const name of seen) expect(names.splitOfName(name)).toBe('train');
    for (const name of unseen) expect(names.splitOfName(name)).toBe('held-out');
  });

  it('has summaries of 8 to 22 words that name both speakers', () => {
    for (const { prompt, completion } of rowsIn(path.join(SHIPPED, 'train.jsonl')).filter((row) =>
      row.prompt.endsWith('Summary:'),
    )) {
      const words = completion.trim().split(' ');
      expect(words.length, completion).toBeGreaterThanOrEqual(8);
      expect(words.length, completion).toBeLessThanOrEqual(22);
      const speakers = new Set(Array.from(prompt.matchAll(/^(\w+): /gm), ([, name]) => name));
      expect(speakers.size, prompt).toBe(2);
      for (const name of speakers) expect(completion, prompt).toContain(name);
    }
  });
});

describe('pretraining corpus', () => {
  it('never meets held-out rows or the new task', { timeout: 60_000 }, () => {
    const held = new Set(rowsIn(path.join(SHIPPED, 'retain.jsonl')).map((row) => row.prompt + row.completion));
    expect(held.size).toBe(180);
    const rows = ['first', 'fourth', 'sixth', 'seventh', 'ninth', 'tenth'].flatMap((stage) =>
      Array.from(corpus.pretrainingRows(4000, 1, stage), (row) => ({ ...row, text: row.prompt + row.completion })),
    );
    expect(rows.filter((row) => corpus.splitOf(row.key) !== 'train' || held.has(row.text))).toEqual([]);
    expect(rows.filter(({ text }) => /Summary|undefined|\bNaN\b| {2}|\ba [aeiou]/.test(text))).toEqual([]);
    for (const task of ['story', 'sentiment', 'question', 'echo']) {
      expect(rows.filter((row) => row.task === task).length, task).toBeGreaterThan(500);
    }
  });

  it('has every answer in its passage', () => {
    for (const { prompt, completion } of corpus.rowsOf('question', 2000, 5, 'train')) {
      expect(prompt.slice(0, prompt.indexOf('\nQuestion:')), prompt).toContain(completion.trim());
    }
  });

  it('is the same for the same seed', () => {
    const first = (seed: number): string => [...corpus.pretrainingRows(50, seed)].map((row) => row.prompt).join('\n');
    expect(first(3)).toBe(first(3));
    expect(first(3)).not.toBe(first(4));
  });
});

describe('quickstart tokenizer', () => {
  const json = (name: string): object => JSON.parse(readFileSync(path.join(SHIPPED, 'base', name), 'utf8')) as object;

  it('is what its script writes', { timeout: 60_000 }, () => {
    execFileSync(process.execPath, [path.join(SCRIPTS, 'tokenizer.mjs'), '-o', folder]);
    for (const name of [
      'tokenizer.json',
      'tokenizer_config.json',
      'special_tokens_map.json',
      'generation_config.json',
    ]) {
      expect(readFileSync(path.join(folder, name)).equals(readFileSync(path.join(SHIPPED, 'base', name))), name).toBe(
        true,
      );
    }
  });

  it('gives back what it encodes', async () => {
    const tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'));
    const texts = rowsIn(path.join(SHIPPED, 'validation.jsonl')).map((row) => row.prompt + row.completion);
    for (const text of [...texts, 'Grüße 😀\n\ttabs  and spaces ', "it's o'clock"]) {
      const { ids } = tokenizer.encode(text);
      expect(tokenizer.decode(ids)).toBe(text);
      expect(Math.max(...ids)).toBeLessThan(1536);
    }
    expect(tokenizer.encode('Hi<|endoftext|>').ids.at(-1)).toBe(0);
    // A name has the same tokens wherever it is, and the blank before it is a token of its own.
    for (const name of ['Petra', 'Yanem', 'Wolfgang']) {
      const { ids } = tokenizer.encode(name);
      expect(ids.length, name).toBeGreaterThan(1);
      expect(tokenizer.encode(` ${name}`).ids, name).toEqual([...tokenizer.encode(' ').ids, ...ids]);
      expect(tokenizer.encode(`\n${name}:`).ids.slice(1, -1), name).toEqual(ids);
    }
  });
});
