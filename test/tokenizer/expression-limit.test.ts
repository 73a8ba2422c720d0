import { describe, expect, it } from 'vitest';
import { memoryDirectory } from '../../src/io/directory.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { mayBacktrack } from '../../src/io/backtracking.js';
import { smallTokenizerFiles } from './fixture.js';

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const GPT4O =
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{M}]*[\\p{Ll}\\p{M}]+(?i:'s|'t)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

async function withSplit(pattern: string): Promise<Tokenizer> {
  const files = smallTokenizerFiles();
  const json = JSON.parse(files['tokenizer.json'] as string) as Record<string, unknown>;
  const split = { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false };
  json['pre_tokenizer'] = { type: 'Sequence', pretokenizers: [split, json['pre_tokenizer']] };
  return (await loadTokenizer(memoryDirectory('m', { ...files, 'tokenizer.json': JSON.stringify(json) }))) as Tokenizer;
}

describe('expressions of a tokenizer.json', () => {
  it.each([GPT2, LLAMA3, GPT4O, '\\d', '[^()]+', '\\(a\\)+'])('that are in use need no limit: %s', (pattern) => {
    expect(mayBacktrack(pattern)).toBe(false);
  });

  it.each(['(a+)+$', '(?:a|aa)*$', '(?:a?){30}a', '(.)\\1', 'a*a*a*b', '(?:\\p{L}\\p{M}*)+'])(
    'that may backtrack have one: %s',
    (pattern) => {
      expect(mayBacktrack(pattern)).toBe(true);
    },
  );

  it('that backtrack without end are cut off, others give the same tokens', async () => {
    const hostile = await withSplit('(?:a|aa)+$');
    expect(() => hostile.encode(`${'a'.repeat(100)}!`)).toThrow(
      /m\/tokenizer\.json: 101 characters took more than 3\.\d* s: its expression "\(\?:a\|aa\)\+\$" repeats what repeats/,
    );
    const nested = await withSplit('(?:\\p{L}\\p{M}*)+');
    expect(nested.decode(nested.encode('the ante', { addSpecialTokens: false }))).toBe('the ante');
  });
});
