import fc from 'fast-check';
import { expect, it } from 'vitest';
import { allExamples } from '../../src/data/examples.js';
import { drawnFirst, loadSplits } from '../../src/data/split.js';
import { countingRows } from '../support/tiny-model.js';

it('parts of the training rows are nested, and belong to their seed', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 60 }), fc.nat(99), fc.nat(), (count, seed, draw) => {
      const large = 1 + (draw % count);
      const small = 1 + (draw % large);
      const [few, many] = [drawnFirst(count, small, seed), drawnFirst(count, large, seed)];
      expect(few).toHaveLength(small);
      expect(Array.from(few).every((index) => many.includes(index))).toBe(true);
      expect(Array.from(many)).toEqual(Array.from(many).sort((a, b) => a - b));
    }),
  );
  expect(drawnFirst(40, 5, 1)).not.toEqual(drawnFirst(40, 5, 2));
});

it('max_train_samples takes training rows after the split, and leaves validation rows alone', async () => {
  const train = { name: 'rows', rows: countingRows(20, 1) };
  const load = (max_train_samples?: number): ReturnType<typeof loadSplits> =>
    loadSplits({
      train,
      vocabSize: 32,
      options: { validation_split: 4, seed: 3, ...(max_train_samples === undefined ? {} : { max_train_samples }) },
    });
  const [whole, part, more] = [await load(), await load(5), await load(100)];
  expect([
    whole.train.examples.length,
    part.train.examples.length,
    part.train.stats.rows,
    more.train.examples.length,
  ]).toEqual([16, 5, 5, 16]);
  const rows = async (set: typeof whole.train): Promise<number[]> =>
    (await allExamples(set.examples)).map(({ row }) => row);
  const all = await rows(whole.train);
  expect((await rows(part.train)).every((row) => all.includes(row))).toBe(true);
  expect(part.validation?.stats).toEqual(whole.validation?.stats);
});
