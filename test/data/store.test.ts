import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ExampleStore } from '../../src/data/store.js';

const row = fc.array(fc.record({ id: fc.nat(69_999), label: fc.constantFrom('id', 'none', 'other') }), {
  minLength: 1,
  maxLength: 40,
});

describe('ExampleStore', () => {
  it('gives back what was put in, for small and large vocabularies', () => {
    fc.assert(
      fc.property(
        fc.array(row, { minLength: 1, maxLength: 300 }),
        fc.constantFrom(65_536, 70_000, Infinity),
        (rows, vocabSize) => {
          const store = new ExampleStore(vocabSize);
          const stored = rows.map((tokens, i) => {
            const ids = tokens.map(({ id }) => id % Math.min(vocabSize, 70_000));
            const labels = tokens.map(({ label }, t) =>
              label === 'none' ? -100 : label === 'other' ? 7 : (ids[t] as number),
            );
            return { ids, labels, row: i + 1, source: `file ${i % 3}`, truncated: i % 2 === 0 };
          });
          stored.forEach((each) => {
            store.push(each);
          });
          expect(store.length).toBe(rows.length);
          expect(
            [...store].map(({ inputIds, labels, ...rest }) => ({ ids: [...inputIds], labels: [...labels], ...rest })),
          ).toEqual(stored);
          expect(store.at(-1)).toEqual(store.at(rows.length - 1));
          expect(store.at(rows.length)).toBeUndefined();
        },
      ),
      { numRuns: 30 },
    );
  });

  it('takes an example longer than a page', () => {
    const store = new ExampleStore(10);
    const ids = Array.from({ length: 10_000 }, (_, i) => i % 10);
    for (let i = 0; i < 3; i++) store.push({ ids, labels: ids, row: i, source: 'rows', truncated: false });
    expect([...store].every(({ inputIds }) => inputIds.length === 10_000 && inputIds[9_999] === 9)).toBe(true);
  });
});
