import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { memoryDirectory, readJson } from '../../src/io/directory.js';
import { localDirectory } from '../../src/io/node.js';
import { besideAdapter, besideAdapters, withAddedTokens } from '../../src/tokenizer/added-tokens.js';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js';

const BASE = localDirectory('configs/quickstart/base');

it('adds tokens behind the vocabulary, and keeps the ids of those that are there', async () => {
  const before = (await loadTokenizer(BASE)) as Tokenizer;
  const known = before.idToToken(20) as string;
  const { directory, ids } = await withAddedTokens(BASE, ['<tool>', known, '</tool>', '<tool>']);
  expect(ids).toEqual([before.vocabSize, 20, before.vocabSize + 1]);
  const after = (await loadTokenizer(directory)) as Tokenizer;
  expect(after.vocabSize).toBe(before.vocabSize + 2);
  const text = 'Once<tool>upon</tool> a time';
  const encoded = after.encode(text, { addSpecialTokens: false });
  expect(encoded.filter((id) => id >= before.vocabSize)).toEqual([before.vocabSize, before.vocabSize + 1]);
  expect(after.decode(encoded)).toBe(text);
  expect(after.eosTokenId).toBe(before.eosTokenId);
  expect(after.encode('Once upon a time')).toEqual(before.encode('Once upon a time'));
});

it('takes the tokenizer that lies beside an adapter, and nothing else of it', async () => {
  const { directory } = await withAddedTokens(BASE, ['<tool>']);
  const json = JSON.stringify(await readJson(directory, 'tokenizer.json'));
  const adapter = memoryDirectory('adapter', { 'tokenizer.json': json, 'config.json': '{}' });
  const both = await besideAdapter(BASE, adapter);
  expect((await loadTokenizer(both))?.tokenToId('<tool>')).toBe((await loadTokenizer(BASE))?.vocabSize);
  expect(await readJson(both, 'config.json')).toEqual(await readJson(BASE, 'config.json'));
  expect(await besideAdapter(BASE, memoryDirectory('plain', {}))).toBe(BASE);
});

it('takes one tokenizer for adapters side by side, and refuses those that differ in their tokens', async () => {
  const { directory } = await withAddedTokens(BASE, ['<tool>']);
  const grown = memoryDirectory('grown', {
    'tokenizer.json': JSON.stringify(await readJson(directory, 'tokenizer.json')),
  });
  const copied = memoryDirectory('copied', {
    'tokenizer.json': JSON.stringify(await readJson(BASE, 'tokenizer.json')),
  });
  const plain = memoryDirectory('plain', {});
  expect(await besideAdapters(BASE, [])).toBe(BASE);
  expect((await loadTokenizer(await besideAdapters(BASE, [grown])))?.tokenToId('<tool>')).toBe(
    (await loadTokenizer(BASE))?.vocabSize,
  );
  expect((await loadTokenizer(await besideAdapters(BASE, [plain, copied])))?.tokenToId('<tool>')).toBeUndefined();
  await expect(besideAdapters(BASE, [plain, grown])).rejects.toThrow(
    /^plain and grown: \d+ and \d+ tokens: use one of them at a time$/,
  );
});

it('says that a model without tokenizer takes no tokens', async () => {
  await expect(withAddedTokens(memoryDirectory('bare', {}), ['<tool>'])).rejects.toThrow('bare has no tokenizer.json');
});

interface AddedGolden {
  readonly tokens: readonly string[];
  readonly texts: readonly string[];
  readonly encodings: Readonly<
    Record<
      string,
      Readonly<Record<'as written' | 'normalized', { readonly added: number[]; readonly ids: number[][] }>>
    >
  >;
}
const GOLDEN = JSON.parse(readFileSync('test/golden/tokenizers/added-tokens.json', 'utf8')) as AddedGolden;

describe.each(Object.keys(GOLDEN.encodings))("added tokens, beside transformers' ids: %s", (name) => {
  const directory = localDirectory(`test/golden/tokenizers/${name}`);
  const shown = (tokenizer: Tokenizer): { text: string; ids: number[] }[] =>
    GOLDEN.texts.map((text) => ({ text, ids: tokenizer.encode(text) }));
  const expected = (ids: readonly number[][]): { text: string; ids: number[] }[] =>
    GOLDEN.texts.map((text, i) => ({ text, ids: ids[i] as number[] }));

  it('as they are added here', async () => {
    const golden = GOLDEN.encodings[name]?.['as written'];
    const { directory: grown, ids } = await withAddedTokens(directory, GOLDEN.tokens);
    expect(ids).toEqual(golden?.added);
    const tokenizer = (await loadTokenizer(grown)) as Tokenizer;
    expect(shown(tokenizer)).toEqual(expected(golden?.ids ?? []));
    for (const { text, ids: all } of shown(tokenizer)) expect(tokenizer.encodePlaced(text).ids, text).toEqual(all);
  });

  it('as a file of transformers has them, compared with the normalised text', async () => {
    const golden = GOLDEN.encodings[name]?.normalized;
    const json = (await readJson(directory, 'tokenizer.json')) as { added_tokens: object[] };
    const added = GOLDEN.tokens.map((content, i) => ({
      id: golden?.added[i],
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: true,
      special: false,
    }));
    const text = JSON.stringify({ ...json, added_tokens: [...json.added_tokens, ...added] });
    const tokenizer = (await loadTokenizer(memoryDirectory(name, { 'tokenizer.json': text }))) as Tokenizer;
    expect(shown(tokenizer)).toEqual(expected(golden?.ids ?? []));
    for (const { text: one, ids: all } of shown(tokenizer)) expect(tokenizer.encodePlaced(one).ids, one).toEqual(all);
  });
});
