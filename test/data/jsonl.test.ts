import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { DataError } from '../../src/errors.js';
import { parseJsonl } from '../../src/data/jsonl.js';

describe('parseJsonl', () => {
  it('gives back any rows with their lines', () => {
    fc.assert(
      fc.property(fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { minLength: 1 }), fc.constantFrom('\n', '\r\n', '\n\n'), (rows, end) => {
        const plain = rows.map((row) => JSON.parse(JSON.stringify(row)) as unknown);
        const parsed = parseJsonl(plain.map((row) => JSON.stringify(row)).join(end), 'x.jsonl');
        expect(parsed.rows.map((row) => row.value)).toEqual(plain);
        const step = end === '\n\n' ? 2 : 1;
        expect(parsed.rows.map((row) => row.line)).toEqual(plain.map((_, i) => i * step + 1));
      }),
    );
  });

  it('takes a byte-order mark, and a JSON array', () => {
    expect(parseJsonl('\ufeff{"a":1}\n', 'x').rows).toEqual([{ line: 1, value: { a: 1 } }]);
    expect(parseJsonl(' [{"a":1},\n{"a":2}]', 'x')).toEqual({
      name: 'x',
      unit: 'row',
      rows: [{ line: 1, value: { a: 1 } }, { line: 2, value: { a: 2 } }],
    });
  });

  it.each(['', '\n \r\n', '[]'])('refuses an empty file %j', (text) => {
    expect(() => parseJsonl(text, 'empty.jsonl')).toThrow(DataError);
    expect(() => parseJsonl(text, 'empty.jsonl')).toThrow('empty.jsonl');
  });

  it('names every bad line', () => {
    const bytes = new TextEncoder().encode('{"a":1}\n{"a":\n7\n{"a":"?"}\n');
    bytes[bytes.indexOf(0x3f)] = 0xff;
    const parse = (): unknown => parseJsonl(bytes, 'x.jsonl');
    expect(parse).toThrow(DataError);
    for (const told of ['3 bad rows', 'line 2: invalid JSON', 'line 3: expected a JSON object, found a number', 'line 4: not valid UTF-8']) {
      expect(parse).toThrow(told);
    }
  });

  it('lists ten of many', () => {
    expect(() => parseJsonl('1\n'.repeat(25), 'x.jsonl')).toThrow(/25 bad rows[^]*line 10:[^]*and 15 more/);
    expect(() => parseJsonl('1\n'.repeat(25), 'x.jsonl')).not.toThrow('line 11:');
  });
});
