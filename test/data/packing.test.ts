import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { collate } from '../../src/data/collate.js';
import { allExamples, type Example, type Examples } from '../../src/data/examples.js';
import { joinExamples, packedExamples, packLengths, repacked } from '../../src/data/packing.js';
import { loadSplits, type DataSplits } from '../../src/data/split.js';
import { ConfigError } from '../../src/errors.js';
import { memorySource } from '../../src/io/source.js';
import { targetsOf } from '../../src/model/loss.js';
import { Random } from '../../src/random.js';

const exampleOf = (row: number, length: number): Example => {
  const inputIds = Int32Array.from({ length }, (_, i) => 100 * row + i);
  return { inputIds, labels: inputIds, row, source: 'rows' };
};

const rowsOf = (lengths: readonly number[], capacity: number): number[][] => {
  const { order, offsets } = packLengths(lengths, capacity);
  return Array.from({ length: offsets.length - 1 }, (_, row) => [...order.subarray(offsets[row], offsets[row + 1])]);
};

describe('packLengths', () => {
  it('gives each example one place, within the rows, in few rows, the same way each time', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 60 }), (lengths) => {
        const rows = rowsOf(lengths, 20);
        expect(rows.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
        const filled = rows.map((row) => row.reduce((sum, i) => sum + (lengths[i] ?? 0), 0));
        expect(Math.max(...filled)).toBeLessThanOrEqual(20);
        // No two rows of which one would do: at most one row is half empty.
        expect(filled.filter((sum) => sum <= 10).length).toBeLessThanOrEqual(1);
        expect(rows.every((row) => row.every((index, i) => i === 0 || index > (row[i - 1] ?? Infinity)))).toBe(true);
        expect(rowsOf(lengths, 20)).toEqual(rows);
      }),
    );
  });

  it('fills gaps best fit first', () => {
    expect(rowsOf([4, 7, 3, 6], 10)).toEqual([
      [1, 2],
      [0, 3],
    ]);
    expect(() => packLengths([3, 11], 10)).toThrow(ConfigError);
    expect(() => packLengths([3, 11], 10)).toThrow('example 2 has 11 tokens, a packed row holds 10');
  });
});

describe('packed rows', () => {
  it('keep samples apart: starts, positions and targets', () => {
    const packed = joinExamples([exampleOf(1, 3), exampleOf(2, 2)]);
    const batch = collate([packed, exampleOf(3, 4), joinExamples([exampleOf(4, 2), exampleOf(5, 4)])], {
      padToMultipleOf: 4,
    });
    expect([...(batch.starts ?? [])]).toEqual([0, 0, 0, 3, 3, 5, 5, 5, 0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 2, 2, 2, 2, 6, 6]);
    expect(batch.rows).toEqual([1, 2, 3, 4, 5]);
    expect(batch.tokenCount).toBe(15);
    expect(batch.supervisedCount).toBe(10);
    const { rows, labels } = targetsOf(batch);
    expect([...labels]).toEqual([101, 102, 201, 301, 302, 303, 401, 501, 502, 503]);
    expect([...rows]).toEqual([0, 1, 3, 8, 9, 10, 16, 18, 19, 20]);
    expect(collate([exampleOf(1, 3)]).starts).toBeUndefined();
  });

  it('are put together on demand and know their lines', () => {
    const examples = [exampleOf(1, 3), exampleOf(2, 4), exampleOf(3, 2)];
    const packed = packedExamples(examples, packLengths([3, 4, 2], 6));
    expect([...packed].map((example) => example.rows)).toEqual([[2, 3], [1]]);
    expect([...(packed.at(0)?.inputIds ?? [])]).toEqual([200, 201, 202, 203, 300, 301]);
    expect(packed.at(2)).toBeUndefined();
  });
});

describe('repacked', () => {
  it('fills the rows as before with other examples of the same lengths, each of them once', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 40 }),
        fc.nat(9),
        (lengths, seed) => {
          const before = packLengths(lengths, 12);
          const { order, offsets } = repacked(before, lengths, new Random(seed, 'packing'));
          expect(offsets).toEqual(before.offsets);
          expect([...order].sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
          for (let row = 0; row + 1 < offsets.length; row++) {
            const filled = (all: Int32Array): number[] =>
              [...all.subarray(offsets[row], offsets[row + 1])].map((i) => lengths[i] as number).sort();
            expect(filled(order)).toEqual(filled(before.order));
          }
        },
      ),
    );
  });
});

/** Rows of 2 to 4 tokens, each of its own id. */
const ROWS = Array.from({ length: 30 }, (_, i) => ({ input_ids: Array.from({ length: 2 + (i % 3) }, () => i) }));

/** Which rows lie together in an epoch. */
async function packsOf(examples: Examples, epoch: number): Promise<string[]> {
  return (await allExamples(examples.forEpoch?.(epoch) ?? examples)).map(({ rows }) => (rows ?? []).join('+'));
}

describe('data.packing', () => {
  it('puts other rows together in each epoch, the same ones in each run', async () => {
    const options = { packing: true, max_length: 12, seed: 3 };
    const [{ train }, again] = [
      await loadSplits({ train: { name: 'rows', rows: ROWS }, options }),
      await loadSplits({ train: { name: 'rows', rows: ROWS }, options }),
    ];
    const epochs = await Promise.all([0, 1, 2].map((epoch) => packsOf(train.examples, epoch)));
    for (const packs of epochs) {
      expect(packs).toHaveLength(train.examples.length);
      expect(packs.flatMap((pack) => pack.split('+').map(Number)).sort((a, b) => a - b)).toEqual(
        ROWS.map((_, i) => i + 1),
      );
    }
    expect(new Set(epochs.flat()).size).toBeGreaterThan(2 * train.examples.length);
    expect(await packsOf(again.train.examples, 2)).toEqual(epochs[2]);
    expect(await packsOf(again.train.examples, 1)).toEqual(epochs[1]);
    const still = await loadSplits({ train: { name: 'rows', rows: ROWS }, options: { ...options, shuffle: false } });
    expect(await packsOf(still.train.examples, 1)).toEqual(epochs[0]);
  });

  it('packs streamed rows as it packs those in memory', async () => {
    const source = memorySource(
      'x.jsonl',
      new TextEncoder().encode([...ROWS, { input_ids: [1] }].map((row) => JSON.stringify(row)).join('\n')),
    );
    for (const more of [{}, { validation_split: 5, max_train_samples: 20 }]) {
      const load = (streaming: boolean): Promise<DataSplits> =>
        loadSplits({ train: source, options: { packing: true, max_length: 9, seed: 3, streaming, ...more } });
      const [{ train: streamed }, { train: loaded }] = [await load(true), await load(false)];
      expect(streamed.dropped).toEqual(loaded.dropped);
      expect(streamed.stats).toEqual({ rows: loaded.stats.rows });
      for (const epoch of [0, 1])
        expect(await allExamples(streamed.examples.forEpoch?.(epoch) ?? [])).toEqual(
          await allExamples(loaded.examples.forEpoch?.(epoch) ?? []),
        );
    }
  });

  it('packs the training rows alone, after validation rows are taken', async () => {
    const rows = Array.from({ length: 20 }, (_, i) => ({ input_ids: Array.from({ length: 2 + (i % 3) }, () => i) }));
    const splits = await loadSplits({
      train: { name: 'rows', rows },
      options: { packing: true, max_length: 8, validation_split: 5 },
    });
    const { train, validation } = splits;
    expect(train.stats.rows).toBe(15);
    expect(validation?.examples.length).toBe(5);
    expect(train.examples.length).toBeLessThan(9);
    const [packed, held] = [await allExamples(train.examples), await allExamples(validation?.examples ?? [])];
    const ids = packed.flatMap((example) => [...example.inputIds]);
    expect(ids.length).toBe(train.stats.tokens);
    expect(new Set([...ids, ...held.flatMap((example) => [...example.inputIds])]).size).toBe(20);
    expect(packed.every(({ inputIds }) => inputIds.length <= 8)).toBe(true);
    expect(held.every(({ starts }) => starts === undefined)).toBe(true);
  });
});
