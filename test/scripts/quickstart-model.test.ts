import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Tokenizer } from '@huggingface/tokenizers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Row {
  readonly task: 'story' | 'sentiment' | 'question' | 'dialogue';
  readonly prompt: string;
  readonly completion: string;
  readonly key: string;
}
interface Corpus {
  rowsOf(task: Row['task'], count: number, seed: number, split: 'train' | 'held-out'): Row[];
  pretrainingRows(count: number, seed: number): Iterable<Row>;
  splitOf(key: string): 'train' | 'held-out';
}
interface Words {
  readonly PEOPLE: readonly { name: string }[];
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

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'quickstart-'));
  corpus = (await load('corpus.mjs')) as Corpus;
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
    const files = readdirSync(SHIPPED, { recursive: true, encoding: 'utf8' }).filter((name) => !name.endsWith('.safetensors'));
    const bytes = files.map((name) => statSync(path.join(SHIPPED, name))).reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
    expect(bytes).toBeLessThan(600_000);
  });

  it('keeps validation apart from training', () => {
    const [train, validation] = [rowsIn(path.join(SHIPPED, 'train.jsonl')), rowsIn(path.join(SHIPPED, 'validation.jsonl'))];
    expect([train.length, validation.length]).toEqual([640, 60]);
    const seen = new Set(train.flatMap((row) => [row.prompt, row.completion]));
    expect(validation.filter((row) => seen.has(row.prompt) || seen.has(row.completion))).toEqual([]);
    expect(new Set([...train, ...validation].map((row) => row.prompt)).size).toBe(700);
  });

  it('has summaries of 8 to 22 words that name both speakers', () => {
    for (const { prompt, completion } of rowsIn(path.join(SHIPPED, 'train.jsonl'))) {
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
    expect(held.size).toBe(120);
    const rows = Array.from(corpus.pretrainingRows(5000, 1), (row) => ({ ...row, text: row.prompt + row.completion }));
    expect(rows.filter((row) => corpus.splitOf(row.key) !== 'train' || held.has(row.text))).toEqual([]);
    expect(rows.filter(({ text }) => /Summary|Dialogue|undefined|\bNaN\b| {2}|\ba [aeiou]/.test(text))).toEqual([]);
    for (const task of ['story', 'sentiment', 'question']) {
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
    for (const name of ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'generation_config.json']) {
      expect(readFileSync(path.join(folder, name)).equals(readFileSync(path.join(SHIPPED, 'base', name))), name).toBe(true);
    }
  });

  it('gives back what it encodes', async () => {
    const tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'));
    const texts = rowsIn(path.join(SHIPPED, 'validation.jsonl')).map((row) => row.prompt + row.completion);
    for (const text of [...texts, 'Grüße 😀\n\ttabs  and spaces ', "it's o'clock"]) {
      const { ids } = tokenizer.encode(text);
      expect(tokenizer.decode(ids)).toBe(text);
      expect(Math.max(...ids)).toBeLessThan(1280);
    }
    expect(tokenizer.encode('Hi<|endoftext|>').ids.at(-1)).toBe(0);
    const { PEOPLE } = (await load('words.mjs')) as Words;
    for (const { name } of PEOPLE) {
      expect(tokenizer.encode(` ${name}`).ids, name).toHaveLength(1);
      expect(tokenizer.encode(name).ids, name).toHaveLength(1);
    }
  });
});
