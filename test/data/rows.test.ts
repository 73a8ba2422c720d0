import fc from 'fast-check';
import { plainNumbers } from '../../src/io/json-numbers.js';
import { parquetWriteBuffer } from 'hyparquet-writer';
import Papa from 'papaparse';
import { describe, expect, it } from 'vitest';

import { allExamples, takeExamples } from '../../src/data/examples.js';
import { loadDataset, openDataset } from '../../src/data/dataset.js';
import { openRows } from '../../src/data/rows.js';
import { DataError } from '../../src/errors.js';
import { memorySource, type ByteSource } from '../../src/io/source.js';
import { smallTokenizer } from '../tokenizer/fixture.js';
import { listSourceRows, textSource } from '../support/data.js';

/**
 * Written by pyarrow 25: a list of structs and a large_string with a null, zstd, two row groups.
 * `pq.write_table(table, file, compression='zstd', row_group_size=2, store_schema=False, write_statistics=False)`
 */
const PYARROW =
  'UEFSMRUEFSoVPEwVBBUAEgAAKLUv/SAVqQAABAAAAHVzZXIJAAAAYXNzaXN0YW50FQAVHhUwLBUIFRAVBhUGHAAAACi1L/0gD3kAAAIAAAADCgIAAAAIBAEDChUEFTwVTkwVCBUAEgAA' +
  'KLUv/SAe8QAAAwAAAHEgMAQAAADDpCAwAwAAAHEgMQQAAADDpCAxFQAVIBUyLBUIFRAVBhUGHAAAACi1L/0gEIEAAAIAAAADCgIAAAAIBAID5AAVBBUKFRxMFQIVABIAACi1L/0gBSkA' +
  'AAEAAABhFQAVEhUkLBUEFRAVBhUGHAAAACi1L/0gCUkAAAIAAAADAQECABUEFSoVPEwVBBUAEgAAKLUv/SAVqQAABAAAAHVzZXIJAAAAYXNzaXN0YW50FQAVHhUwLBUEFRAVBhUGHAAA' +
  'ACi1L/0gD3kAAAIAAAADAgIAAAAEBAEDAhUEFR4VMEwVBBUAEgAAKLUv/SAPeQAAAwAAAHEgMgQAAADDpCAyFQAVHhUwLBUEFRAVBhUGHAAAACi1L/0gD3kAAAIAAAADAgIAAAAEBAED' +
  'AhUEFQoVHEwVAhUAEgAAKLUv/SAFKQAAAQAAAGMVABUSFSQsFQIVEBUGFQYcAAAAKLUv/SAJSQAAAgAAAAIBAQIAFQQZfDUAGAZzY2hlbWEVBAA1AhgIbWVzc2FnZXMVAhUGTDwAAAA1' +
  'BBgEbGlzdBUCADUCGAdlbGVtZW50FQQAFQwlAhgEcm9sZSUATBwAAAAVDCUCGAdjb250ZW50JQBMHAAAABUMJQIYBHRleHQlAEwcAAAAFgYZLBk8JgAcFQwZNQAGEBlICG1lc3NhZ2Vz' +
  'BGxpc3QHZWxlbWVudARyb2xlFQwWCBaKARauASZgJggpLBUEFQAVAgAVABUQFQIAPBY0GSYEBBlWAAAAAAgAAAAmABwVDBk1AAYQGUgIbWVzc2FnZXMEbGlzdAdlbGVtZW50B2NvbnRl' +
  'bnQVDBYIFp4BFsIBJqACJrYBKSwVBBUAFQIAFQAVEBUCADwWHBkmBAQZVgAAAAAIAAAAJgAcFQwZNQAGEBkYBHRleHQVDBYEFl4WggEmsAMm+AIpLBUEFQAVAgAVABUQFQIAPBYCGQYZ' +
  'JgICAAAAFoYDFgQmCBbyAwAZPCYAHBUMGTUABhAZSAhtZXNzYWdlcwRsaXN0B2VsZW1lbnQEcm9sZRUMFgQWigEWrgEm0gQm+gMpLBUEFQAVAgAVABUQFQIAPBYaGSYCAhlWAAAAAAQA' +
  'AAAmABwVDBk1AAYQGUgIbWVzc2FnZXMEbGlzdAdlbGVtZW50B2NvbnRlbnQVDBYEFn4WogEm9AUmqAUpLBUEFQAVAgAVABUQFQIAPBYOGSYCAhlWAAAAAAQAAAAmABwVDBk1AAYQGRgE' +
  'dGV4dBUMFgIWXhaCASaCBybKBiksFQQVABUCABUAFRAVAgA8FgIZBhkmAAIAAAAW5gIWAib6AxbSAwAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjUuMC4xGTwcAAAcAAAcAAAA' +
  'nQIAAFBBUjE=';

describe('JSONL', () => {
  it('gives back any rows with their lines, and each again by its place', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { minLength: 1 }),
        fc.constantFrom('\n', '\r\n', '\n\n'),
        async (rows, end) => {
          const plain = rows.map((row) => JSON.parse(JSON.stringify(row)) as unknown);
          const file = await openRows(textSource('x.jsonl', plain.map((row) => JSON.stringify(row)).join(end)));
          const [values, lines]: [unknown[], number[]] = [[], []];
          for await (const row of file.rows) {
            values.push('value' in row ? row.value : row.problem);
            lines.push(row.line);
            expect(await file.reread?.(row.at ?? { offset: 0, length: 0 })).toEqual({ value: values.at(-1) });
          }
          expect(plainNumbers(values)).toEqual(plain);
          const step = end === '\n\n' ? 2 : 1;
          expect(lines).toEqual(plain.map((_, i) => i * step + 1));
        },
      ),
    );
  });

  it('takes a byte-order mark, and a JSON array', async () => {
    expect(await listSourceRows(textSource('x', '\ufeff{"a":1}\n'))).toEqual([{ line: 1, value: { a: 1 } }]);
    expect(await listSourceRows(textSource('x', ' [{"a":1},\n{"a":2}, 3]'))).toEqual(
      [
        { line: 1, value: { a: 1 } },
        { line: 2, value: { a: 2 } },
        { line: 3, problem: 'expected a JSON object, found a number' },
      ].map((row) => expect.objectContaining(row) as unknown),
    );
  });

  it('reads lines that reach over the pieces a file is read in', async () => {
    const long = 'x'.repeat(2 ** 20 - 20);
    const values = ['a', long, 'b', long + long + long, long, '', 'c'];
    const text = values.map((text) => `${JSON.stringify({ text })}\n`).join('');
    expect(await listSourceRows(textSource('x.jsonl', text))).toEqual(
      values.map((text, i) => ({ line: i + 1, value: { text } })),
    );
    expect(await listSourceRows(textSource('x.jsonl', text.slice(0, -1)))).toHaveLength(values.length);
  });

  it.each(['', '\n \r\n', '[]', ' [ \n]'])('refuses an empty file %j', async (text) => {
    await expect(listSourceRows(textSource('empty.jsonl', text))).rejects.toThrow(DataError);
    await expect(listSourceRows(textSource('empty.jsonl', text))).rejects.toThrow('empty.jsonl');
  });

  it('names every bad line', async () => {
    const bytes = new TextEncoder().encode('{"input_ids":[1,2]}\n{"a":\n7\n{"a":"?"}\n');
    bytes[bytes.indexOf(0x3f)] = 0xff;
    const loading = loadDataset({ source: memorySource('x.jsonl', bytes) });
    await expect(loading).rejects.toThrow(DataError);
    for (const told of [
      '3 bad rows',
      'line 2: invalid JSON',
      'line 3: expected a JSON object, found a number',
      'line 4: not valid UTF-8',
    ]) {
      await expect(loading).rejects.toThrow(told);
    }
  });

  it('says the same of many lines once, and ten different things', async () => {
    const same = loadDataset({ source: textSource('x.jsonl', `${'1\n'.repeat(25)}{"a\n{"ab\n`) });
    await expect(same).rejects.toThrow(
      '27 bad rows:\n  x.jsonl, 25 rows (lines 1, 2, 3, …): expected a JSON object, found a number\n  x.jsonl, 2 rows (lines 26, 27): invalid JSON: ',
    );
    const keys = [...'abcdefghijklm'];
    const different = loadDataset({
      source: textSource('x.jsonl', keys.map((key) => `{"text": "a", "format": "${key}"}\n`).join('')),
      options: { template: "{{ raise_exception('no ' + format) }}{{ text }}" },
      tokenizer: await smallTokenizer(),
    });
    await expect(different).rejects.toThrow(
      /^13 bad rows:\n {2}x\.jsonl, line 1: [^]*line 10: [^\n]*no j\n {2}… and 3 more$/,
    );
  });

  it('refuses a row without an end', async () => {
    const endless: ByteSource = {
      name: 'x.jsonl',
      size: 2 ** 40,
      read: async (_offset, length) => new Uint8Array(length).fill(0x61),
      close: async () => undefined,
    };
    await expect(listSourceRows(endless)).rejects.toThrow('x.jsonl, line 1: a row of more than 64 MiB');
  });
});

describe('a JSON array', () => {
  it('gives back any elements, however it is written, and each again by its place', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { minLength: 1 }),
        fc.constantFrom(undefined, 1, '\t'),
        async (rows, indent) => {
          const plain = rows.map((row) => JSON.parse(JSON.stringify(row)) as unknown);
          const file = await openRows(textSource('x.json', ` ${JSON.stringify(plain, null, indent)}\n`));
          const values: unknown[] = [];
          for await (const row of file.rows) {
            values.push('value' in row ? row.value : row.problem);
            expect(row.line).toBe(values.length);
            expect(await file.reread?.(row.at ?? { offset: 0, length: 0 })).toEqual({ value: values.at(-1) });
          }
          expect(plainNumbers(values)).toEqual(plain);
        },
      ),
    );
  });

  it('is read piece by piece', async () => {
    const rows = Array.from({ length: 5 }, (_, i) => ({ text: `${'],{"\\'.repeat(2 ** 17 + i)}` }));
    expect(await listSourceRows(textSource('x.json', JSON.stringify(rows)))).toMatchObject(
      rows.map((value, i) => ({ line: i + 1, value })),
    );
  });

  it.each([
    ['[{"a":1},{"a":2', 'invalid JSON array: it does not end; 1 rows are whole'],
    ['[{"a":1},', 'invalid JSON array: it does not end; 1 rows are whole'],
    ['[{"a":"1},{"a":2}]', 'invalid JSON array: it does not end; 0 rows are whole'],
    ['[{"a":1},]', 'invalid JSON array: a comma stands before its end'],
    ['[{"a":1}] [', 'invalid JSON array: something follows its end'],
  ])('that is broken is refused: %s', async (text, problem) => {
    await expect(listSourceRows(textSource('x.json', text))).rejects.toThrow(`x.json: ${problem}`);
  });

  it('with broken elements tells each', async () => {
    const rows = await listSourceRows(textSource('x.json', '[{"a":1},,{"a" 2},{"a":3} {"a":4},[]]'));
    expect(rows.map((row) => ('problem' in row ? row.problem : row.value))).toEqual([
      { a: 1 },
      'nothing stands between two commas',
      expect.stringMatching(/^invalid JSON: /),
      expect.stringMatching(/^invalid JSON: /),
      'expected a JSON object, found a list',
    ]);
  });
});

describe('CSV', () => {
  const cell = fc.string({ unit: fc.constantFrom('a', 'é', '😀', '"', ',', ';', '\n', '\t', ' ', "'") });

  it('gives back any values that are quoted by the rules, in file order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(cell, cell), { minLength: 1 }),
        fc.constantFrom(',', ';', '\t'),
        fc.constantFrom('\n', '\r\n'),
        async (values, delimiter, newline) => {
          const rows = values.map(([a, b], i) => ({ id: String(i), a, b }));
          const text = Papa.unparse(rows, { delimiter, newline });
          const file = await openRows(textSource('x.csv', text));
          const found: unknown[] = [];
          for await (const row of file.rows) {
            expect(row).toHaveProperty('value');
            found.push('value' in row ? row.value : row.problem);
            expect(await file.reread?.(row.at ?? { offset: 0, length: 0 })).toEqual({ value: found.at(-1) });
          }
          expect(found).toEqual(rows);
        },
      ),
    );
  });

  it('counts the lines of the file, and names what is wrong with a row', async () => {
    const text = 'prompt,completion\n"two\nlines",a\n\nb\nc,d,e\n"f" g,h\n5" pipe,i\n';
    expect(await listSourceRows(textSource('x.csv', text))).toEqual([
      { line: 2, value: { prompt: 'two\nlines', completion: 'a' } },
      { line: 5, problem: '1 values, but the first line names 2 fields' },
      { line: 6, problem: '3 values, but the first line names 2 fields' },
      { line: 7, problem: expect.stringContaining('invalid CSV') as string },
      { line: 8, value: { prompt: '5" pipe', completion: 'i' } },
    ]);
    expect(await listSourceRows(textSource('x.csv', 'text\n"never closed\nb\n'))).toEqual([
      { line: 2, problem: expect.stringContaining('invalid CSV') as string },
    ]);
    expect(await listSourceRows(textSource('x.tsv', 'text\tmore\na, b\tc\n'))).toEqual([
      { line: 2, value: { text: 'a, b', more: 'c' } },
    ]);
    expect(await listSourceRows(textSource('x.csv', '\ufefftext\na\n'))).toEqual([{ line: 2, value: { text: 'a' } }]);
  });

  it('wants names in the first line', async () => {
    await expect(openRows(textSource('x.csv', 'a,a\n1,2\n'))).rejects.toThrow(
      'x.csv, line 1: the first line must name the fields: "a" stands there twice',
    );
    await expect(openRows(textSource('x.csv', 'a,\n1,2\n'))).rejects.toThrow('a name is empty');
    await expect(openRows(textSource('x.csv', '\n'))).rejects.toThrow('the file is empty');
  });
});

describe('text', () => {
  it('makes every line a row', async () => {
    expect(await listSourceRows(textSource('x.txt', 'one\r\n\n  two \n'))).toEqual([
      { line: 1, value: { text: 'one' } },
      { line: 3, value: { text: '  two ' } },
    ]);
  });
});

describe('Parquet', () => {
  const messages = [
    { role: 'user', content: 'q' },
    { role: 'assistant', content: 'a' },
  ];

  function parquet(rowGroupSize: number, codec: 'SNAPPY' | 'UNCOMPRESSED' = 'SNAPPY'): ByteSource {
    const columnData = [
      { name: 'text', data: ['a', 'bé', 'c', 'd', 'e'], type: 'STRING' as const },
      { name: 'count', data: [1n, 2n, 3n, 4n, 9007199254740993n], type: 'INT64' as const },
      { name: 'maybe', data: ['x', null, 'y', null, 'z'], type: 'STRING' as const },
      { name: 'messages', data: Array.from({ length: 5 }, () => messages), type: 'JSON' as const },
    ];
    return memorySource('rows.parquet', new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize, codec })));
  }

  it.each([2, 100])('reads rows of any number of groups (%i rows each)', async (size) => {
    for (const codec of ['SNAPPY', 'UNCOMPRESSED'] as const) {
      const rows = await listSourceRows(parquet(size, codec));
      expect(rows.map((row) => row.line)).toEqual([1, 2, 3, 4, 5]);
      expect(rows[1]).toEqual({ line: 2, value: { text: 'bé', count: 2, messages } });
      expect(rows[4]).toEqual({ line: 5, value: { text: 'e', count: '9007199254740993', maybe: 'z', messages } });
    }
  });

  it('reads what pyarrow writes', async () => {
    const talk = (i: number): unknown => [
      { role: 'user', content: `q ${i}` },
      { role: 'assistant', content: `ä ${i}` },
    ];
    expect(await listSourceRows(memorySource('x.parquet', Buffer.from(PYARROW, 'base64')))).toEqual([
      { line: 1, value: { messages: talk(0), text: 'a' } },
      { line: 2, value: { messages: talk(1) } },
      { line: 3, value: { messages: talk(2), text: 'c' } },
    ]);
  });

  it('refuses what is none', async () => {
    await expect(openRows(textSource('x.parquet', 'no parquet at all'))).rejects.toThrow(
      /x\.parquet: cannot be read as Parquet: /,
    );
    const bytes = await parquet(100).read(0, parquet(100).size);
    const broken = memorySource('x.parquet', bytes.slice().fill(0xff, 4, 60));
    await expect(listSourceRows(broken)).rejects.toThrow(DataError);
  });
});

describe('formats of files', () => {
  it('make the same examples', async () => {
    const tokenizer = await smallTokenizer();
    const rows = [
      { prompt: 'the, "end"', completion: ' of\nit' },
      { prompt: 'to', completion: ' be' },
    ];
    const columnData = (['prompt', 'completion'] as const).map((name) => ({
      name,
      data: rows.map((row) => row[name]),
      type: 'STRING' as const,
    }));
    const sources = [
      textSource('x.jsonl', rows.map((row) => JSON.stringify(row)).join('\n')),
      textSource('x.json', JSON.stringify(rows)),
      textSource('x.csv', Papa.unparse(rows)),
      textSource('x.tsv', Papa.unparse(rows, { delimiter: '\t' })),
      memorySource('x.parquet', new Uint8Array(parquetWriteBuffer({ columnData }))),
    ];
    const [first, ...others] = await Promise.all(
      sources.map(async (source) =>
        [...(await loadDataset({ source, tokenizer })).examples].map(({ inputIds, labels }) => ({ inputIds, labels })),
      ),
    );
    for (const other of others) expect(other).toEqual(first);
    expect(first).toHaveLength(2);
  });

  it('stream where rows can be read alone', async () => {
    const tokenizer = await smallTokenizer();
    const options = { streaming: true, max_length: 6 };
    const text =
      '{"prompt":"a","completion":"b"}\n{"prompt":"a","completion":" "}\n{"prompt":"too long a prompt","completion":"b"}\n{"prompt":"c","completion":"d"}\n';
    const [streamed, loaded] = await Promise.all(
      [{ ...options }, { ...options, streaming: false }].map((each) =>
        openDataset({ source: textSource('x.jsonl', text), tokenizer, options: each }),
      ),
    );
    expect(streamed?.dropped).toEqual([{ source: 'x.jsonl', row: 2, reason: 'the completion is empty' }]);
    expect(streamed?.stats).toEqual({ rows: 3 });
    const [a, empty, b] = await allExamples(streamed?.examples ?? []);
    expect([a, b]).toEqual(await allExamples(loaded?.examples ?? []));
    expect([...(empty?.labels ?? [])]).toEqual([-100]);
    await expect(openDataset({ source: { name: 'rows', rows: [{ text: 'a' }] }, tokenizer, options })).rejects.toThrow(
      'streaming reads single rows of files, which a list in memory or a compressed file does not give',
    );
    await expect(openDataset({ source: textSource('x.jsonl', `${text}7\n`), tokenizer, options })).rejects.toThrow(
      'line 5: expected a JSON object',
    );
  });

  it('stream to the examples that are read into memory, in any order', async () => {
    const tokenizer = await smallTokenizer();
    const rows = Array.from({ length: 23 }, (_, i) => ({ prompt: `to ${i}`, completion: ` be${' of'.repeat(i % 5)}` }));
    const columnData = (['prompt', 'completion'] as const).map((name) => ({
      name,
      data: rows.map((row) => row[name]),
      type: 'STRING' as const,
    }));
    const sources = [
      textSource('x.json', JSON.stringify(rows, null, 1)),
      textSource('x.csv', Papa.unparse(rows)),
      memorySource('x.parquet', new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: [4, 10] }))),
    ];
    for (const source of sources) {
      const [streamed, loaded] = [
        await openDataset({ source, tokenizer, options: { streaming: true } }),
        await loadDataset({ source, tokenizer }),
      ];
      expect(streamed.examples.length).toBe(23);
      const order = [22, 3, 4, 21, 0, 13, 14, 5, 22];
      expect(await takeExamples(streamed.examples, order), source.name).toEqual(
        await takeExamples(loaded.examples, order),
      );
    }
  });
});
