import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { collate } from '../../src/data/collate.js';
import type { Example } from '../../src/data/examples.js';
import { ConfigError } from '../../src/errors.js';

const example = fc
  .array(fc.record({ id: fc.nat(9), learnt: fc.boolean() }), { minLength: 1, maxLength: 9 })
  .map((tokens, row = 1): Example => ({
    inputIds: Int32Array.from(tokens, (token) => token.id),
    labels: Int32Array.from(tokens, (token) => (token.learnt ? token.id : -100)),
    row,
    source: 'rows',
  }));

describe('collate', () => {
  it('pads on the right, and says by length alone what padding is', () => {
    fc.assert(
      fc.property(
        fc.array(example, { minLength: 1, maxLength: 5 }),
        fc.nat(9),
        fc.integer({ min: 1, max: 8 }),
        (examples, padId, multiple) => {
          const { batch, seq, inputIds, labels, lengths, tokenCount, supervisedCount, rows } = collate(examples, {
            padId,
            padToMultipleOf: multiple,
          });
          const longest = Math.max(...examples.map((each) => each.inputIds.length));
          expect(batch).toBe(examples.length);
          expect(seq % multiple).toBe(0);
          expect(seq - longest).toBeLessThan(multiple);
          expect(inputIds.length).toBe(batch * seq);
          expect(labels.length).toBe(batch * seq);
          examples.forEach((each, i) => {
            const length = lengths[i] ?? -1;
            const row = {
              ids: inputIds.subarray(i * seq, (i + 1) * seq),
              labels: labels.subarray(i * seq, (i + 1) * seq),
            };
            expect(row.ids.slice(0, length)).toEqual(each.inputIds);
            expect(row.labels.slice(0, length)).toEqual(each.labels);
            expect(row.ids.slice(length).every((id) => id === padId)).toBe(true);
            expect(row.labels.slice(length).every((label) => label === -100)).toBe(true);
          });
          expect(tokenCount).toBe(lengths.reduce((sum, length) => sum + length, 0));
          expect(supervisedCount).toBe(labels.filter((label, i) => i % seq > 0 && label !== -100).length);
          expect(rows).toEqual(examples.map((each) => each.row));
        },
      ),
    );
  });

  it('wants examples', () => {
    expect(() => collate([])).toThrow(ConfigError);
  });
});
