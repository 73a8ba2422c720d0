import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { BatchSampler } from '../../src/data/sampler.js';
import { splitIndices } from '../../src/data/split.js';
import { ConfigError, DataError } from '../../src/errors.js';

const options = fc.record({
  count: fc.integer({ min: 1, max: 40 }),
  batchSize: fc.integer({ min: 1, max: 12 }),
  seed: fc.nat(),
  shuffle: fc.boolean(),
});

const take = (sampler: BatchSampler, batches: number): number[][] =>
  Array.from({ length: batches }, () => [...sampler.next()]);

describe('BatchSampler', () => {
  it('visits every example once an epoch, the last batch being the rest', () => {
    fc.assert(
      fc.property(options, (given) => {
        const sampler = new BatchSampler(given);
        for (let epoch = 0; epoch < 3; epoch++) {
          expect(sampler.epoch).toBe(epoch);
          const batches = take(sampler, sampler.batchesPerEpoch);
          expect(batches.slice(0, -1).every((batch) => batch.length === given.batchSize)).toBe(true);
          expect(batches.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: given.count }, (_, i) => i));
        }
      }),
    );
  });

  it('goes on from a saved state as if undisturbed', () => {
    fc.assert(
      fc.property(options, fc.nat(30), (given, before) => {
        const sampler = new BatchSampler(given);
        take(sampler, before);
        const state = JSON.parse(JSON.stringify(sampler.state())) as ReturnType<BatchSampler['state']>;
        const undisturbed = take(sampler, 20);
        const resumed = new BatchSampler(given);
        take(resumed, 3);
        resumed.restore(state);
        expect(resumed.state()).toEqual(state);
        expect(take(resumed, 20)).toEqual(undisturbed);
      }),
    );
  });

  it('orders every epoch and every seed anew', () => {
    const sampler = new BatchSampler({ count: 50, batchSize: 50, seed: 1 });
    const [first, second] = take(sampler, 2);
    expect(first).not.toEqual(second);
    expect(take(new BatchSampler({ count: 50, batchSize: 50, seed: 1 }), 2)).toEqual([first, second]);
    expect(take(new BatchSampler({ count: 50, batchSize: 50, seed: 2 }), 1)[0]).not.toEqual(first);
    const plain = new BatchSampler({ count: 3, batchSize: 2, seed: 1, shuffle: false });
    expect(take(plain, 4)).toEqual([[0, 1], [2], [0, 1], [2]]);
  });

  it('refuses what cannot be', () => {
    expect(() => new BatchSampler({ count: 0, batchSize: 1, seed: 0 })).toThrow(ConfigError);
    expect(() => new BatchSampler({ count: 1, batchSize: 0, seed: 0 })).toThrow(ConfigError);
    const sampler = new BatchSampler({ count: 5, batchSize: 2, seed: 0 });
    expect(() => sampler.restore({ ...sampler.state(), count: 6, seed: 3 })).toThrow(
      'count was 6 and is 5, seed was 3 and is 0',
    );
    expect(() => sampler.restore({ ...sampler.state(), position: 5 })).toThrow(ConfigError);
  });
});

describe('splitIndices', () => {
  it('shares examples out, by fraction or count, the same way for a seed', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 60 }),
        fc.nat(),
        fc.double({ min: 0.01, max: 0.9, noNaN: true }),
        (count, seed, fraction) => {
          fc.pre(Math.round(fraction * count) < count);
          const { train, validation } = splitIndices(count, fraction, seed);
          expect(validation.length).toBe(Math.max(1, Math.round(fraction * count)));
          expect([...train, ...validation].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
          expect(train).toEqual(train.slice().sort());
          expect(splitIndices(count, fraction, seed).validation).toEqual(validation);
        },
      ),
    );
    expect(splitIndices(30, 4, 0).validation).toHaveLength(4);
    expect(splitIndices(30, 4, 0).validation).not.toEqual(splitIndices(30, 4, 1).validation);
    expect(() => splitIndices(30, 30, 0)).toThrow(DataError);
  });
});
