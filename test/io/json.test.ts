import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/errors.js';
import { memoryDirectory, readJson, readText, relativePath } from '../../src/io/directory.js';
import { decodeUtf8, duplicateKeys, MAX_JSON_DEPTH, parseJson } from '../../src/io/json.js';
import { itReferences, referencePath } from '../support/references.js';

const CASE = 'cases/files/json-hang/config.json';

describe('parseJson', () => {
  it.each([
    ['{\n  "a": 1,\n  "b": tru\n}', 'f:3:8'],
    ['{"a": 1,}', 'f:1:9'],
    ['[1, 2', 'f:1:6'],
    ['', 'f:1:1'],
    ['{"a" 1}', 'f:1:6'],
    ['{} x', 'f:1:4'],
    ['"tab\there"', 'f:1:5'],
    ['[01]', 'f:1:3'],
  ])('%j fails at %s', (text, place) => {
    expect(() => parseJson(text, 'f')).toThrow(FormatError);
    expect(() => parseJson(text, 'f')).toThrow(`${place}: not JSON`);
  });

  it('fails at once on a long string that is cut, and on one with many escapes', () => {
    for (const text of [
      `{"${'long name '.repeat(3)}`,
      `["${'a'.repeat(1e6)}`,
      `["${'a\\n'.repeat(1e5)}\\x"]`,
      `${'["a",'.repeat(1e5)}`,
    ]) {
      expect(() => parseJson(text, 'f')).toThrow(/f:1:\d+: not JSON/);
    }
  });

  itReferences('fails at once on the case of a config.json that is cut within a text', CASE, () => {
    expect(() => parseJson(readFileSync(referencePath(CASE), 'utf8'), 'f')).toThrow(/f:1:\d+: not JSON: the file ends/);
  });

  it('refuses what is nested too deep, not brackets within strings', () => {
    const nested = (depth: number): string => `${'[{"a":'.repeat(depth / 2)}1${'}]'.repeat(depth / 2)}`;
    expect(parseJson(nested(MAX_JSON_DEPTH), 'f')).toBeInstanceOf(Array);
    expect(() => parseJson(nested(MAX_JSON_DEPTH + 2), 'f')).toThrow(
      /f: lists and objects are nested more than 512 deep/,
    );
    expect(parseJson(JSON.stringify(`"\\${'['.repeat(5000)}`), 'f')).toHaveLength(5002);
    expect(() => parseJson('['.repeat(1e6), 'f')).toThrow(FormatError);
  });

  it('agrees with JSON.parse on what is JSON, broken or whole', () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), fc.string({ maxLength: 2 }), (text, at, noise) => {
        const changed = text.slice(0, at % (text.length + 1)) + noise + text.slice(at % (text.length + 1));
        let expected: unknown;
        try {
          expected = JSON.parse(changed);
        } catch {
          expect(() => parseJson(changed, 'f')).toThrow(FormatError);
          return;
        }
        expect(parseJson(changed, 'f')).toEqual(expected);
      }),
    );
  });
});

describe('duplicateKeys', () => {
  it('finds them at every depth and under every spelling', () => {
    expect(duplicateKeys('{"a":[{"b":1,"b":2}],"\\u0061":{}}')).toEqual(['b', 'a']);
    expect(duplicateKeys('{"a":{"a":1},"b":[{"a":1},{"a":1}]}')).toEqual([]);
  });

  it('finds none in what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(duplicateKeys(text)).toEqual([]);
      }),
    );
  });
});

describe('directories', () => {
  it('reads text and JSON, and gives undefined for what is not there', async () => {
    const directory = memoryDirectory('d', { 'a.json': '\ufeff{"x": 1}', 'b/c.txt': 'text', 'broken.json': '{' });
    expect(await directory.list()).toEqual(['a.json', 'b/c.txt', 'broken.json']);
    expect(await readJson(directory, 'a.json')).toEqual({ x: 1 });
    expect(await readText(directory, 'b/c.txt')).toBe('text');
    expect(await readText(directory, 'none')).toBeUndefined();
    expect(await readJson(directory, 'none')).toBeUndefined();
    await expect(readJson(directory, 'broken.json')).rejects.toThrow(/d\/broken\.json:1:2/);
    await expect(directory.open('../a.json')).rejects.toThrow(FormatError);
  });

  it('refuses text that is no UTF-8', () => {
    expect(() => decodeUtf8(Uint8Array.of(0xc3, 0x28), 'f')).toThrow('f: not UTF-8 text');
  });

  it.each(['', '/a', '../a', 'a/..', 'a/./b', 'a\\b', 'C:a', 'a\0'])('refuses the path %j', (path) => {
    expect(() => relativePath(path, 'd')).toThrow(FormatError);
  });
});
