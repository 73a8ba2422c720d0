import fc from 'fast-check';
import { expect, it } from 'vitest';
import { JsonNumber, parseJsonExactly, plainNumbers } from '../../src/io/json-numbers.js';

it('keeps the spelling of numbers that JavaScript would change', () => {
  const text = '{"a": [21.0, 1e5, -0.0, 12345678901234567890], "b": "21.0 \\"1e5\\"", "c": 0.5, "d": 7, "e": -0}';
  expect(parseJsonExactly(text)).toEqual({
    a: [new JsonNumber('21.0'), new JsonNumber('1e5'), new JsonNumber('-0.0'), new JsonNumber('12345678901234567890')],
    b: '21.0 "1e5"',
    c: 0.5,
    d: 7,
    e: -0,
  });
  expect(parseJsonExactly('["\ufdd01.0", 1.0]')).toEqual(['\ufdd01.0', new JsonNumber('1.0')]);
  expect(() => parseJsonExactly('{"a": 1.0')).toThrow(SyntaxError);
});

it('is JSON.parse but for these', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(plainNumbers(parseJsonExactly(text))).toEqual(JSON.parse(text));
    }),
  );
});
