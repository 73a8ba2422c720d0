import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const DECLARATION = /^export (?:abstract |async )*(?:class|const|function|interface|type)\*? (\w+)/gm;

interface Entry {
  readonly term: string;
  readonly meaning: string;
  readonly symbol: string;
  readonly file: string;
}

const rows = readFileSync(resolve('docs/glossary.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('|'))
  .slice(2);
const entries = rows.map(entryOf);

function entryOf(row: string): Entry | undefined {
  const cells = row.split('|').map((cell) => cell.trim());
  const [, term, meaning, symbol, file] = cells;
  if (cells.length !== 6 || !term || !meaning?.endsWith('.')) return undefined;
  const [name, path] = [symbol, file].map((code) => /^`([\w./-]+)`$/.exec(code ?? '')?.[1]);
  return name === undefined || path === undefined ? undefined : { term, meaning, symbol: name, file: path };
}

/** What is wrong with where a term is said to be declared. */
function problemOf({ term, symbol, file }: Entry): string | undefined {
  if (!existsSync(resolve(file))) return `docs/glossary.md: ${term}: there is no file ${file}`;
  const declared = [...readFileSync(resolve(file), 'utf8').matchAll(DECLARATION)].map((match) => match[1]);
  return declared.includes(symbol) ? undefined : `docs/glossary.md: ${term}: ${file} declares no exported ${symbol}`;
}

describe('docs/glossary.md', () => {
  it('has a term, a sentence, a symbol and a file in each row', () => {
    expect(rows.filter((_, i) => entries[i] === undefined)).toEqual([]);
    expect(entries.length).toBeGreaterThan(30);
  });

  it('lists each term once, in alphabetical order', () => {
    const terms = entries.map((entry) => (entry?.term ?? '').toLowerCase());
    expect(terms).toEqual([...new Set(terms)].sort((a, b) => a.localeCompare(b, 'en')));
  });

  it('names symbols that their files declare', () => {
    expect(entries.flatMap((entry) => (entry === undefined ? [] : (problemOf(entry) ?? [])))).toEqual([]);
  });

  it('tells what is missing in one sentence', () => {
    const of = { term: 'op', meaning: '', symbol: 'Gone', file: 'kernels/runtime/op.ts' };
    expect(problemOf(of)).toBe('docs/glossary.md: op: kernels/runtime/op.ts declares no exported Gone');
    expect(problemOf({ ...of, file: 'kernels/gone.ts' })).toBe(
      'docs/glossary.md: op: there is no file kernels/gone.ts',
    );
  });
});
