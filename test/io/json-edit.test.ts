import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editJson } from '../../src/io/json-edit.js';

const edit = (text: string, changes: Record<string, unknown>): string => editJson(text, changes, 'x.json');

describe('editJson', () => {
  const text = '{\n  "a": 1.0,\n  "c": {"x": [1, "}"]},\n  "e": 1e-05\n}\n';

  it('replaces a value and leaves every other byte', () => {
    expect(edit(text, { c: 7 })).toBe('{\n  "a": 1.0,\n  "c": 7,\n  "e": 1e-05\n}\n');
    expect(edit(text, {})).toBe(text);
  });

  it('puts a new key where sorted keys want it, nested like the rest', () => {
    expect(edit(text, { b: { y: [true] } })).toBe(
      '{\n  "a": 1.0,\n  "b": {\n    "y": [\n      true\n    ]\n  },\n  "c": {"x": [1, "}"]},\n  "e": 1e-05\n}\n',
    );
    expect(edit(text, { z: null })).toBe(text.replace('1e-05', '1e-05,\n  "z": null'));
    expect(edit('{\n "b": 1,\n "a": 2\n}', { aa: 3 })).toBe('{\n "b": 1,\n "a": 2,\n "aa": 3\n}');
    expect(edit('{}', { a: 1 })).toBe('{\n  "a": 1\n}');
  });

  it('removes the first, a middle and the last member', () => {
    expect(edit(text, { a: undefined })).toBe('{\n  "c": {"x": [1, "}"]},\n  "e": 1e-05\n}\n');
    expect(edit(text, { c: undefined })).toBe('{\n  "a": 1.0,\n  "e": 1e-05\n}\n');
    expect(edit(text, { e: undefined })).toBe('{\n  "a": 1.0,\n  "c": {"x": [1, "}"]}\n}\n');
    expect(edit(text, { nothing: undefined })).toBe(text);
  });

  it('refuses what is no object', () => {
    expect(() => edit('[1]', { a: 1 })).toThrow('x.json: must be a JSON object');
    expect(() => edit('{"a": }', { a: 1 })).toThrow('x.json:1:7: not JSON');
  });

  it('means the same as assigning, for any object, key and spacing', () => {
    const json = fc.dictionary(fc.string(), fc.jsonValue());
    fc.assert(
      fc.property(
        json,
        fc.string(),
        fc.option(fc.jsonValue(), { nil: undefined }),
        fc.integer({ min: 0, max: 4 }),
        (object, key, value, indent) => {
          fc.pre(key !== '__proto__' && !Object.hasOwn(object, '__proto__'));
          // JSON has one zero.
          const plain = JSON.parse(JSON.stringify(object)) as Record<string, unknown>;
          const keys = [key, ...Object.keys(plain)];
          for (const changed of keys.slice(0, 3)) {
            const expected: Record<string, unknown> = { ...plain, [changed]: value };
            if (value === undefined) delete expected[changed];
            const edited = edit(JSON.stringify(plain, null, indent), { [changed]: value });
            expect(JSON.parse(edited)).toEqual(JSON.parse(JSON.stringify(expected)));
          }
        },
      ),
    );
  });
});
