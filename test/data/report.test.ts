import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { loadDataset } from '../../src/data/dataset.js';
import { histogram, reportDataset } from '../../src/data/report.js';
import { smallTokenizer } from '../tokenizer/fixture.js';

describe('histogram', () => {
  it('puts every length into one of few bins', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 60 }), (lengths) => {
        const bins = histogram(Int32Array.from(lengths));
        expect(bins.length).toBeLessThanOrEqual(9);
        for (const { from, to, rows } of bins)
          expect(rows).toBe(lengths.filter((length) => length >= from && length <= to).length);
        expect(bins.reduce((sum, { rows }) => sum + rows, 0)).toBe(lengths.length);
        expect(bins.every(({ from }, i) => i === 0 || from === (bins[i - 1]?.to ?? 0) + 1)).toBe(true);
        expect(bins.at(-1)?.to).toBe(Math.max(...lengths));
      }),
    );
  });
});

describe('reportDataset', () => {
  it('counts, samples and explains each part', async () => {
    const tokenizer = await smallTokenizer();
    const rows = Array.from({ length: 10 }, (_, i) => ({
      prompt: `the ${i}`,
      completion: i % 5 === 4 ? ' ' : ` end ${i}`,
    }));
    const source = [
      { name: 'pairs', sources: [{ name: 'pairs', rows }], weight: 1 },
      {
        name: 'ids',
        sources: [{ name: 'ids', rows: [{ input_ids: [3, 4], labels: [-100, 4] }, { input_ids: [3, 4, 5] }] }],
        weight: 1,
      },
    ];
    const set = await loadDataset({ source, tokenizer });
    const { parts, stats, packed } = reportDataset(set, { tokenizer, samples: 2, packTo: set.stats.longest });
    expect(stats.rows).toBe(10);
    expect(packed?.rows).toBeLessThan(10);
    expect((packed?.filled ?? 2) * (packed?.rows ?? 0) * stats.longest).toBeCloseTo(stats.tokens, 9);
    const [pairs, ids] = parts;
    expect(pairs?.dropped.map((each) => each.row)).toEqual([5, 10]);
    expect(pairs?.samples.map(({ row, text }) => [row, text])).toEqual([
      [1, '<s>the 0⟦ end 0<|endoftext|>⟧'],
      [6, '<s>the 5⟦ end 5<|endoftext|>⟧'],
    ]);
    expect((pairs?.drawn ?? 0) + (ids?.drawn ?? 0)).toBe(packed?.rows);
    const plain = reportDataset(set, { tokenizer: undefined, samples: 9 });
    expect(plain.parts[1]?.samples.map(({ text, supervisedTokens }) => [text, supervisedTokens])).toEqual([
      ['3⟦ 4⟧', 1],
      ['⟦3 4 5⟧', 2],
    ]);
    expect(plain.parts.map(({ drawn }) => drawn)).toEqual([5, 5]);
  });
});
