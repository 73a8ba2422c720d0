import { existsSync } from 'node:fs';
import fc from 'fast-check';
import { plainNumbers } from '../../src/io/json-numbers.js';
import { describe, expect, it } from 'vitest';
import { openDataset } from '../../src/data/dataset.js';
import { DataError } from '../../src/errors.js';
import { openRows } from '../../src/data/rows.js';
import { allExamples } from '../../src/data/examples.js';
import { fileSource } from '../../src/io/node.js';
import { listSourceRows, textSource } from '../support/data.js';
import { smallTokenizer } from '../tokenizer/fixture.js';
import { SHARED } from '../support/goldens.js';

const CASES = `${SHARED}/cases/files/jsonl`;

const valuesOf = async (text: string, name = 'x.json'): Promise<unknown[]> =>
  (await listSourceRows(textSource(name, text))).map((row) => ('problem' in row ? row.problem : row.value));

const ROWS = [
  { prompt: 'a "{', completion: 'b]\\' },
  { prompt: '}, ', completion: '\n"' },
  { prompt: 'é', completion: '' },
];

describe('JSON of objects', () => {
  it.each([
    ['one a line', ROWS.map((row) => JSON.stringify(row)).join('\n')],
    [
      'one a line, CRLF, behind a byte-order mark',
      `\ufeff${ROWS.map((row) => JSON.stringify(row)).join('\r\n\r\n')}\r\n`,
    ],
    ['pretty-printed', ROWS.map((row) => JSON.stringify(row, null, 2)).join('\n')],
    [
      'pretty-printed, CRLF, behind a byte-order mark',
      `\ufeff\r\n${ROWS.map((row) => JSON.stringify(row, null, '\t'))
        .join('\n\n')
        .replaceAll('\n', '\r\n')}\r\n`,
    ],
    ['one behind the other', ROWS.map((row) => JSON.stringify(row)).join('')],
    ['one behind the other with blanks', ROWS.map((row) => JSON.stringify(row)).join(' ')],
    ['in an array', JSON.stringify(ROWS)],
    ['under a key', JSON.stringify({ data: ROWS })],
    [
      'under any key, pretty-printed, beside other values',
      JSON.stringify(
        { version: '1.0', 'my "rows"': ROWS, license: { names: ['x'] }, tags: ['a'], more: [[{ a: 1 }]] },
        null,
        2,
      ),
    ],
    ['under a key among lists that are no rows', JSON.stringify({ authors: [{ name: 'x' }], rows: ROWS })],
  ])('is read: %s', async (_, text) => {
    expect(await valuesOf(text)).toEqual(ROWS);
    // What is not written in lines does not depend on the name of the file.
    expect(await valuesOf(text, 'x.jsonl')).toEqual(ROWS);
  });

  it('is one row where the only object is one', async () => {
    const chat = { messages: [{ role: 'user', content: 'a' }], tools: [{ type: 'function' }] };
    for (const row of [
      chat,
      { conversations: [{ from: 'human', value: 'a' }] },
      { prompt: [{ role: 'user' }], completion: [{ role: 'assistant' }] },
      { text: 'a', notes: [{ a: 1 }] },
    ]) {
      expect(await valuesOf(JSON.stringify(row))).toEqual([row]);
      expect(await valuesOf(JSON.stringify(row, null, 1))).toEqual([row]);
    }
    // Rows may be called as a conversation is.
    expect(await valuesOf(JSON.stringify({ conversations: [chat, chat] }))).toEqual([chat, chat]);
    expect(await valuesOf('{"dialogue": [{"speaker": "a"}], "summary": "b"}', 'x.jsonl')).toHaveLength(1);
    expect(await valuesOf('{"a": [], "b": 3}')).toEqual([{ a: [], b: 3 }]);
  });

  it('refuses several lists that may be the rows', async () => {
    await expect(valuesOf(JSON.stringify({ train: ROWS, test: ROWS }))).rejects.toThrow(DataError);
    await expect(valuesOf(JSON.stringify({ train: ROWS, test: ROWS }, null, 1))).rejects.toThrow(
      'x.json: one object with several lists of objects, "train", "test": which are the rows?',
    );
  });

  it('says what is broken, and where', async () => {
    expect(await valuesOf('{"text": "a}\n{"text": "b"}\n', 'x.jsonl')).toEqual([
      expect.stringContaining('invalid JSON'),
      { text: 'b' },
    ]);
    expect(await valuesOf('{"text": "a"\n{"text": "b"}\n', 'x.jsonl')).toEqual([
      expect.stringContaining('invalid JSON'),
      { text: 'b' },
    ]);
    expect(await valuesOf('{"text": "a"}}\n{"text": "b"}\n', 'x.jsonl')).toEqual([
      expect.stringContaining('invalid JSON'),
      { text: 'b' },
    ]);
    expect(await valuesOf('{\n "text": "a"\n}\n{\n "text": ')).toEqual([
      { text: 'a' },
      expect.stringContaining('invalid JSON'),
    ]);
    expect(await valuesOf('{\n "text": "a')).toEqual([expect.stringContaining('invalid JSON')]);
    expect(await valuesOf('{\n "text": "a"\n} ]')).toEqual([{ text: 'a' }, expect.stringContaining('invalid JSON')]);
    expect(await valuesOf('{"data": [\n {"text": "a"}, ')).toEqual([
      expect.stringContaining('invalid JSON'),
      expect.stringContaining('invalid JSON'),
    ]);
  });

  it('gives back any objects, however they follow each other', async () => {
    const object = fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1, maxKeys: 4 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(object, { minLength: 2, maxLength: 5 }),
        fc.constantFrom('\n', '', ' \r\n'),
        fc.nat(3),
        async (values, between, indent) => {
          const text = values.map((value) => JSON.stringify(value, null, indent)).join(between);
          const plain = JSON.parse(JSON.stringify(values)) as unknown;
          expect(plainNumbers(await valuesOf(text))).toEqual(plain);
          expect(
            plainNumbers(
              await valuesOf(JSON.stringify({ rows: values.map((value) => ({ ...value, text: '' })) }, null, indent)),
            ),
          ).toEqual(values.map((value) => JSON.parse(JSON.stringify({ ...value, text: '' })) as unknown));
        },
      ),
      { numRuns: 150 },
    );
  });

  it('is drawn from in place', async () => {
    const tokenizer = await smallTokenizer();
    for (const text of [
      ROWS.slice(0, 2)
        .map((row) => JSON.stringify(row, null, 2))
        .join('\n'),
      JSON.stringify({ data: ROWS.slice(0, 2) }, null, 2),
    ]) {
      const source = textSource('x.json', text);
      const [kept, streamed] = [
        await openDataset({ source, tokenizer }),
        await openDataset({ source, tokenizer, options: { streaming: true } }),
      ];
      expect(await allExamples(streamed.examples)).toEqual(await allExamples(kept.examples));
    }
  });
});

describe.skipIf(!existsSync(CASES))('cases (needs ../shared)', () => {
  it.each(['a.jsonl.gz', 'pretty.json', 'wrapped.json'])('%s', async (name) => {
    const source = await fileSource(`${CASES}/${name}`);
    try {
      const values: unknown[] = [];
      for await (const row of (await openRows(source)).rows) values.push('value' in row ? row.value : row.problem);
      expect(values).toEqual([
        { prompt: 'Name a colour:', completion: ' red' },
        { prompt: 'Name a fruit:', completion: ' fig' },
      ]);
    } finally {
      await source.close();
    }
  });
});
