import { describe, expect, it } from 'vitest';
import { finalNumber, sameNumber, scoreChoices } from '../../../src/eval/metrics/answers.js';
import { mean } from '../../../src/eval/metrics/scores.js';
import {
  bootstrap,
  calibrationError,
  matthews,
  pearson,
  sampleDeviation,
  spearman,
} from '../../../src/eval/metrics/statistics.js';

describe('correlation', () => {
  it('is Pearson’s, by hand', () => {
    // x − x̄ = −1.5 … 1.5, y − ȳ = −2, −1, 1, 2: 3 + 0.5 + 0.5 + 3 over √(5 · 10)
    expect(pearson([1, 2, 3, 4], [1, 2, 4, 5])).toBeCloseTo(7 / Math.sqrt(50), 12);
    expect(pearson([1, 2], [3, 3])).toBeNaN();
    expect(() => pearson([1], [1, 2])).toThrow('1 values against 2');
  });

  it('is Spearman’s with shared ranks', () => {
    expect(spearman([10, 20, 30, 400], [1, 2, 3, 4])).toBeCloseTo(1, 12);
    // ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3
    expect(spearman([1, 5, 5, 9], [1, 2, 3, 4])).toBeCloseTo(pearson([0, 1.5, 1.5, 3], [0, 1, 2, 3]), 12);
  });

  it('is Matthews’ for two classes and more', () => {
    // TP 2, TN 1, FP 1, FN 1
    expect(matthews([1, 1, 1, 0, 0], [1, 1, 0, 0, 1])).toBeCloseTo((2 * 1 - 1 * 1) / Math.sqrt(3 * 3 * 2 * 2), 12);
    expect(matthews(['a', 'b', 'c'], ['a', 'b', 'c'])).toBeCloseTo(1, 12);
    expect(matthews([1, 1], [0, 1])).toBe(0);
  });
});

describe('calibration error', () => {
  it('weighs the gap of each bin by its share', () => {
    // (0.9, 1]: confidence 0.95, half right; (0.5, 0.6]: 0.6, right.
    expect(calibrationError([0.95, 0.95, 0.6], [true, false, true], 10)).toBeCloseTo(
      (2 / 3) * 0.45 + (1 / 3) * 0.4,
      12,
    );
    expect(calibrationError([1, 0], [true, false])).toBe(0);
  });

  it('adds over bins, a bin holding its upper end', () => {
    // Four bins: (0, ¼] 0.1 wrong, 0.25 right; (¼, ½] 0.5 right; (¾, 1] 0.8, 0.9 right, 1 wrong; none in (½, ¾].
    const confidences = [0.8, 0.1, 0.5, 1, 0.25, 0.9];
    const correct = [true, false, true, false, true, true];
    // |1/2 − 0.175|·2/6 + |1 − 0.5|·1/6 + |2/3 − 0.9|·3/6
    expect(calibrationError(confidences, correct, 4)).toBeCloseTo((2 * 0.325 + 0.5 + 3 * (0.9 - 2 / 3)) / 6, 12);
    // Gaps of one bin cancel, those of two do not.
    expect(calibrationError([0.4, 0.9], [false, true], 1)).toBeCloseTo(0.15, 12);
    expect(calibrationError([0.4, 0.9], [false, true], 2)).toBeCloseTo((0.4 + 0.1) / 2, 12);
  });
});

describe('bootstrap', () => {
  it('covers the mean about as often as it says', () => {
    const values = Array.from({ length: 50 }, (_, i) => Math.sin(i * 12.9898) * 3);
    const statistic = (indices: readonly number[]): number => mean(indices.map((i) => values[i] as number));
    const { low, high } = bootstrap(50, statistic, { samples: 2000 });
    // For means the percentile interval is near ±1.96 standard errors.
    const error = sampleDeviation(values) / Math.sqrt(50);
    expect(low).toBeCloseTo(mean(values) - 1.96 * error, 0.6);
    expect(high).toBeCloseTo(mean(values) + 1.96 * error, 0.6);
    expect(bootstrap(50, statistic, { samples: 200 })).toEqual(bootstrap(50, statistic, { samples: 200 }));
    expect(sampleDeviation([4])).toBe(0);
  });
});

describe('bootstrap of what is not always a number', () => {
  it('takes the draws on which it is one', () => {
    // Draws of one value only have no correlation; all others have 1.
    const x = [1, 1, 1, 2];
    const statistic = (indices: readonly number[]): number =>
      pearson(
        indices.map((i) => x[i] as number),
        indices.map((i) => x[i] as number),
      );
    const { low, high } = bootstrap(4, statistic, { samples: 300 });
    expect(low).toBeCloseTo(1, 12);
    expect(high).toBeCloseTo(1, 12);
    const mixed = bootstrap(3, ([first = 0]) => (first === 0 ? NaN : first), { samples: 300 });
    expect(mixed).toEqual({ low: 1, high: 2 });
    expect(bootstrap(3, () => NaN, { samples: 20 })).toEqual({ low: NaN, high: NaN });
  });
});

describe('numeric answers', () => {
  it.each([
    ['It costs $1,234.50 in all.', 1234.5],
    ['48 + 24 = 72\n#### 72', 72],
    ['#### -3 apples of 5', -3],
    ['none', undefined],
  ])('%s', (text, expected) => {
    expect(finalNumber(text)).toBe(expected);
  });

  it('are the same number however they are written', () => {
    expect(sameNumber('so 1,000.0', 'x\n#### 1000')).toBe(true);
    expect(sameNumber('no number', '#### 1')).toBe(false);
  });
});

describe('multiple choice', () => {
  it('prefers by likelihood, by likelihood a byte, and by mass', () => {
    const scores = scoreChoices([
      { logLikelihood: Math.log(0.2), bytes: 1, correct: false },
      { logLikelihood: Math.log(0.1), bytes: 10, correct: true },
      { logLikelihood: Math.log(0.1), bytes: 10, correct: true },
    ]);
    expect(scores).toEqual({
      accuracy: 0,
      normalizedAccuracy: 1,
      mc1: 0,
      mc2: expect.closeTo(0.5, 12) as number,
      confidence: expect.closeTo(0.5, 12) as number,
    });
  });
});
