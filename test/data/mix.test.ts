import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { loadDataset } from '../../src/data/dataset.js';
import { mixedOrder, mixOf, sharesOf } from '../../src/data/mix.js';
import type { DataPart } from '../../src/data/parts.js';
import { BatchSampler, type SamplerState } from '../../src/data/sampler.js';
import { loadSplits } from '../../src/data/split.js';
import { ConfigError } from '../../src/errors.js';
import { smallTokenizer } from '../tokenizer/fixture.js';
import { renderExample } from '../../src/data/show.js';

const mixes = fc.array(
  fc.record({ count: fc.integer({ min: 1, max: 12 }), weight: fc.double({ min: 0.1, max: 5, noNaN: true }) }),
  { minLength: 1, maxLength: 4 },
);

describe('a mix by weight', () => {
  it('shares out as many draws as there are examples', () => {
    expect(
      sharesOf([
        { count: 90, weight: 0.5 },
        { count: 10, weight: 0.5 },
      ]),
    ).toEqual([50, 50]);
    expect(
      sharesOf([
        { count: 5, weight: 1 },
        { count: 3, weight: 1 },
        { count: 2, weight: 1 },
      ]),
    ).toEqual([4, 3, 3]);
    fc.assert(
      fc.property(mixes, (mix) => {
        const shares = sharesOf(mix);
        const total = mix.reduce((sum, part) => sum + part.count, 0);
        const weights = mix.reduce((sum, part) => sum + part.weight, 0);
        expect(shares.reduce((sum, share) => sum + share, 0)).toBe(total);
        shares.forEach((share, i) =>
          expect(Math.abs(share - (total * (mix[i]?.weight ?? 0)) / weights)).toBeLessThan(1),
        );
      }),
    );
  });

  it('draws every example of a part equally often, in epochs that depend on nothing else', () => {
    fc.assert(
      fc.property(mixes, fc.nat(), fc.boolean(), (mix, seed, shuffle) => {
        const shares = sharesOf(mix);
        const total = mix.reduce((sum, part) => sum + part.count, 0);
        const drawn = new Int32Array(total);
        for (let epoch = 0; epoch < 5; epoch++) {
          const order = mixedOrder(mix, seed, epoch, shuffle);
          expect(order.length).toBe(total);
          let first = 0;
          mix.forEach(({ count }, k) => {
            expect(order.filter((i) => i >= first && i < first + count).length).toBe(shares[k]);
            const times = drawn.subarray(first, first + count);
            order.forEach((i) => {
              if (i >= first && i < first + count) drawn[i] = (drawn[i] as number) + 1;
            });
            expect(Math.max(...times) - Math.min(...times)).toBeLessThanOrEqual(1);
            first += count;
          });
          expect(mixedOrder(mix, seed, epoch, shuffle)).toEqual(order);
        }
      }),
    );
  });

  it('goes on from a saved state as if undisturbed, and knows its own', () => {
    const mix = [
      { count: 7, weight: 1 },
      { count: 3, weight: 3 },
    ];
    const make = (parts = mix): BatchSampler => new BatchSampler({ count: 10, batchSize: 3, seed: 4, mix: parts });
    const whole = make();
    const batches = Array.from({ length: 30 }, () => [...whole.next()]);
    for (const after of [0, 1, 4, 11, 17]) {
      const sampler = make();
      for (let i = 0; i < after; i++) sampler.next();
      const state = JSON.parse(JSON.stringify(sampler.state())) as SamplerState;
      const resumed = make();
      resumed.restore(state);
      expect(Array.from({ length: 30 - after }, () => [...resumed.next()])).toEqual(batches.slice(after));
    }
    expect(() =>
      make([
        { count: 7, weight: 1 },
        { count: 3, weight: 2 },
      ]).restore(whole.state()),
    ).toThrow('mix was 7:1,3:3 and is 7:1,3:2');
    expect(() => new BatchSampler({ count: 10, batchSize: 3, seed: 4 }).restore(whole.state())).toThrow(
      'mix was 7:1,3:3 and is undefined',
    );
    expect(() => make([{ count: 7, weight: 1 }])).toThrow('hold 7 examples of 10');
  });
});

describe('parts of a data set', () => {
  const part = (name: string, count: number, more: Partial<DataPart> = {}): DataPart => ({
    name,
    sources: [{ name, rows: Array.from({ length: count }, (_, i) => ({ input_ids: [1, 2 + i, 3] })) }],
    ...more,
  });

  it('have options of their own in place of those of the whole', async () => {
    const tokenizer = await smallTokenizer();
    const rows = [{ q: 'Q', a: ' A', text: 'T' }];
    const { examples, parts } = await loadDataset({
      source: [
        { name: 'rows', rows },
        { sources: [{ name: 'fields', rows }], options: { prompt_field: 'q', completion_field: 'a' } },
        { sources: [{ name: 'all', rows }], options: { prompt_field: 'q', completion_field: 'a', train_on: 'all' } },
        { name: 'named', sources: [{ name: 'text', rows }], options: { text_field: 'text' } },
      ],
      tokenizer,
      options: { template: '{{ q }}:', completion_template: '{{ a }}!' },
    });
    expect([...examples].map((example) => renderExample(example, tokenizer))).toEqual([
      '<s>Q:⟦ A!<|endoftext|>⟧',
      '<s>Q⟦ A<|endoftext|>⟧',
      '⟦<s>Q A<|endoftext|>⟧',
      '⟦<s>T<|endoftext|>⟧',
    ]);
    expect(parts.map(({ name, format, count }) => [name, format, count])).toEqual([
      ['rows', 'template', 1],
      ['fields', 'template', 1],
      ['all', 'template', 1],
      ['named', 'template', 1],
    ]);
  });

  it('keep their sizes through a split and through packing', async () => {
    const train = [part('a', 30, { weight: 1 }), part('b', 10, { weight: 2 })];
    const splits = await loadSplits({ train, options: { validation_split: 8, packing: true, max_length: 7, seed: 3 } });
    const rows = splits.train.parts.map(({ stats }) => stats.rows);
    expect(rows.reduce((a, b) => a + b)).toBe(32);
    expect(splits.validation?.parts.map(({ stats }, i) => stats.rows + (rows[i] ?? 0))).toEqual([30, 10]);
    // Two rows of three tokens to a packed row, and none of two parts.
    expect(splits.train.parts.map(({ count }) => count)).toEqual(rows.map((count) => Math.ceil(count / 2)));
    expect(mixOf(splits.train.parts)?.map(({ weight }) => weight)).toEqual([1, 2]);
  });

  it('have all a weight or none', async () => {
    expect(mixOf((await loadSplits({ train: [part('a', 3), part('b', 2)] })).train.parts)).toBeUndefined();
    const some = loadSplits({ train: [part('a', 3, { weight: 1 }), part('b', 2)] });
    await expect(some).rejects.toThrow(ConfigError);
    await expect(some).rejects.toThrow('1 of 2 data sets have a weight');
    const wrong = loadDataset({
      source: [part('a', 2), { name: 'bad', sources: [{ name: 'bad', rows: [{ input_ids: [1, 'x'] }] }] }],
    });
    await expect(wrong).rejects.toThrow('bad, row 1: field "input_ids" must be a list of integers');
  });
});
