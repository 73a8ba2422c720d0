import { describe, expect, it } from 'vitest';
import { LineCounter } from 'yaml';
import { parseYaml, yamlValues } from '../../src/io/yaml.js';

describe('yamlValues', () => {
  it('reads YAML and JSON, aliases too', () => {
    expect(yamlValues('a: &x {b: [1, 2e-4, true, null]}\nc: *x\n')).toEqual({
      a: { b: [1, 2e-4, true, null] },
      c: { b: [1, 2e-4, true, null] },
    });
    expect(yamlValues('{"a": [1, "b"]}')).toEqual({ a: [1, 'b'] });
    expect(yamlValues('')).toBeNull();
  });

  it('refuses lists and sections that are nested too deep, however they are written', () => {
    expect(yamlValues(`${'['.repeat(90)}1${']'.repeat(90)}`)).toHaveLength(1);
    const deep = Array.from({ length: 200 }, (_, i) => `${' '.repeat(i)}a:`).join('\n');
    for (const text of [
      '['.repeat(200) + ']'.repeat(200),
      '{"a":'.repeat(200) + '1' + '}'.repeat(200),
      deep,
      `${'- '.repeat(200)}1`,
      '['.repeat(20_000) + ']'.repeat(20_000),
    ]) {
      expect(() => yamlValues(text), text.slice(0, 10)).toThrow(/nested more than 100 deep/);
    }
  });

  it.each(['a: &x [*x]', '&x a: {b: 1, *x : 2}', '&x {a: *x}', '&x [1, [2, *x]]', 'a: &x {b: &y [*x, *y]}'])(
    'gives no values without end for an alias within its anchor: %s',
    (text) => {
      let values: unknown;
      try {
        values = yamlValues(text);
      } catch (error) {
        expect((error as Error).message).not.toBe('');
        return;
      }
      expect(JSON.stringify(values).length).toBeLessThan(100);
    },
  );

  it('refuses aliases that multiply, and those of no anchor', () => {
    const laughs = [
      'a0: &a0 [x, x, x, x, x, x, x, x, x, x]',
      ...Array.from(
        { length: 9 },
        (_, i) => `a${i + 1}: &a${i + 1} [${Array.from({ length: 10 }, () => `*a${i}`).join(', ')}]`,
      ),
    ].join('\n');
    expect(() => yamlValues(laughs)).toThrow(/alias/i);
    const few = [
      'a0: &a0 [x, x]',
      ...Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}]`),
    ].join('\n');
    expect(() => yamlValues(few)).toThrow(/alias/i);
    expect(() => yamlValues('a: *none')).toThrow(/alias/i);
  });

  it('makes no object of what a tag or key asks for', () => {
    expect(yamlValues('a: !!js/function "function () {}"')).toEqual({ a: 'function () {}' });
    const values = yamlValues('__proto__: {polluted: true}') as object;
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    expect(Object.keys(values)).toEqual(['__proto__']);
  });

  it('names the first error of the syntax', () => {
    expect(() => yamlValues('a: [1')).toThrow(/./);
    expect(() => yamlValues('a: 1\na: 2')).toThrow(/unique/);
  });
});

describe('parseYaml', () => {
  it('leaves errors of the syntax in the document, with their places', () => {
    const lines = new LineCounter();
    const { document, problem } = parseYaml('a: 1\nb: [2', lines);
    expect(problem).toBeUndefined();
    expect(document?.errors.length).toBeGreaterThan(0);
    expect(lines.linePos(document?.errors[0]?.pos[0] ?? 0).line).toBe(2);
  });
});
