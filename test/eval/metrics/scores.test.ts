import { describe, expect, it } from 'vitest';
import { accuracy, exactMatch, leadingLabel, mean, normalizeAnswer, tokenF1 } from '../../../src/eval/metrics/scores.js';

describe('answers', () => {
  it('normalises case, punctuation, articles and space', () => {
    expect(normalizeAnswer('  The "Cat",\n an apple; a-b ')).toBe('cat apple ab');
    expect(normalizeAnswer('Theo and another')).toBe('theo and another');
  });

  it('matches exactly after that, any accepted answer', () => {
    expect(exactMatch('The park.', 'park')).toBe(true);
    expect(exactMatch('a red park', ['park', 'Red Park'])).toBe(true);
    expect(exactMatch('parks', 'park')).toBe(false);
  });

  it('shares words in F1, each once', () => {
    expect(tokenF1('the red red ball', 'a red ball')).toBeCloseTo((2 * (2 / 3) * 1) / (2 / 3 + 1), 12);
    expect(tokenF1('blue', ['red', 'blue sky'])).toBeCloseTo(2 / 3, 12);
    expect(tokenF1('', 'red')).toBe(0);
    expect(tokenF1('the', 'a')).toBe(1);
    expect(tokenF1('red', [])).toBe(0);
  });
});

describe('classes', () => {
  it('reads the label a completion begins with', () => {
    const labels = ['positive', 'negative'];
    expect(leadingLabel(' Positive.\nReview', labels)).toBe('positive');
    expect(leadingLabel('negative', labels)).toBe('negative');
    expect(leadingLabel('positively so', labels)).toBeUndefined();
    expect(leadingLabel('not positive', labels)).toBeUndefined();
  });

  it('counts agreement', () => {
    expect(accuracy(['a', 'b', 'c', 'd'], ['a', 'b', 'x', 'd'])).toBe(0.75);
    expect(accuracy(['The cat'], ['cat'], exactMatch)).toBe(1);
    expect(accuracy([], [])).toBeNaN();
    expect(mean([1, 2, 6])).toBe(3);
    expect(() => accuracy(['a'], [])).toThrow(/1 predictions/);
  });
});
