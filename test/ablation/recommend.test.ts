import { describe, expect, it } from 'vitest';
import { meanAndSd, pooledSd, recommendRank } from '../../src/ablation/recommend.js';

describe('the recommended rank', () => {
  it('is the smallest within one standard error of the difference from the best', () => {
    // Deviations √0.0002, √0.0002, √0.0002: pooled 0.014142; √(1/2 + 1/2) of it is the margin.
    const ranks = [
      { rank: 8, losses: [1.0, 1.02] },
      { rank: 1, losses: [1.2, 1.22] },
      { rank: 2, losses: [1.013, 1.033] },
    ];
    const found = recommendRank(ranks);
    expect(found).toMatchObject({ rank: 2, best: 8, degreesOfFreedom: 3 });
    expect(found?.pooledSd).toBeCloseTo(Math.sqrt(0.0002), 12);
    expect(found?.margin).toBeCloseTo(Math.sqrt(0.0002), 12);
    expect(found?.text).toBe(
      'Rank 2: the smallest whose mean validation loss, 1.0230, is within one standard error of the difference (0.0141: pooled deviation between seeds 0.0141, 3 degrees of freedom) of the best; rank 8 has the lowest mean validation loss, 1.0100. The best rank is the largest that was tried: try larger ones.',
    );
  });

  it('is the best itself where no smaller one comes near', () => {
    const found = recommendRank([
      { rank: 1, losses: [1.2, 1.201] },
      { rank: 4, losses: [1, 1.001] },
      { rank: 16, losses: [1.0003, 1.0013] },
    ]);
    expect(found).toMatchObject({ rank: 4, best: 4 });
    expect(found?.text).toContain('no smaller rank comes within one standard error');
  });

  it('counts seeds: more of them leave less room', () => {
    const wide = { rank: 2, losses: [1.009, 1.029] };
    const best = { rank: 8, losses: [1.0, 1.02] };
    expect(recommendRank([wide, best])?.rank).toBe(2);
    const repeat = (losses: number[]): number[] => Array.from({ length: 8 }, () => losses).flat();
    expect(
      recommendRank([
        { ...wide, losses: repeat(wide.losses) },
        { ...best, losses: repeat(best.losses) },
      ])?.rank,
    ).toBe(8);
  });

  it('knows no noise from one seed, and says so; one rank is no question', () => {
    const found = recommendRank([
      { rank: 1, losses: [1.0001] },
      { rank: 2, losses: [1] },
    ]);
    expect(found).toMatchObject({ rank: 2, margin: undefined, pooledSd: undefined });
    expect(found?.text).toContain('run several seeds');
    expect(recommendRank([{ rank: 1, losses: [1, 2] }])).toBeUndefined();
  });

  it('rests on the deviation of samples', () => {
    expect(meanAndSd([1, 3])).toEqual({ mean: 2, sd: Math.SQRT2 });
    expect(meanAndSd([5])).toEqual({ mean: 5, sd: 0 });
    // (1·2 + 2·1) / 3
    expect(pooledSd([[1, 3], [0, 1, 2], [7]])).toEqual({ sd: Math.sqrt(4 / 3), degreesOfFreedom: 3 });
  });
});
