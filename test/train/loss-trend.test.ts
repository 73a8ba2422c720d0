import { describe, expect, it } from 'vitest';
import { LossTrend } from '../../src/train/loss-trend.js';

function warningOf(losses: readonly number[], norm = 1, vocab = 1000): string | undefined {
  const learning = new LossTrend();
  for (const loss of losses) learning.add(loss, norm);
  return learning.warning(vocab);
}

const steps = (count: number, loss: (i: number) => number): number[] =>
  Array.from({ length: count }, (_, i) => loss(i) + 0.02 * Math.sin(7 * i));

describe('a run that does not learn', () => {
  it('is told where its gradients are zero, however short it is', () => {
    expect(warningOf([3, 3], 0)).toContain('gradients were zero at every step');
    expect(warningOf([3, 3], 1e-9)).toBeUndefined();
  });

  it('is told where its loss rises', () => {
    expect(warningOf(steps(40, (i) => 2 + 0.05 * i))).toMatch(
      /rose over the run, from 2\.\d+ in its first quarter to 3\.\d+ in its last: try a learning_rate/,
    );
  });

  it('is told where it guesses, and not where it falls from there', () => {
    expect(warningOf(steps(40, () => Math.log(1000)))).toMatch(
      /no better than guessing among 1000 tokens \(ln 1000 = 6\.908\)/,
    );
    expect(warningOf(steps(40, (i) => Math.log(1000) + 2 - 0.05 * i))).toBeUndefined();
  });

  it('is not seen in a run that learns, in a plateau, in noise or in a few steps', () => {
    expect(warningOf(steps(40, (i) => 5 * Math.exp(-i / 10)))).toBeUndefined();
    expect(warningOf(steps(40, () => 2))).toBeUndefined();
    expect(warningOf(Array.from({ length: 40 }, (_, i) => 2 + ((i * 7919) % 13) / 13))).toBeUndefined();
    expect(warningOf([2, 3, 4])).toBeUndefined();
    expect(warningOf([])).toBeUndefined();
  });

  it('is judged alike however long the run is, and where it goes on from a state', () => {
    for (const count of [63, 64, 65, 1000, 5003]) {
      const rising = steps(count, (i) => 2 + (2 * i) / count);
      const resumed = new LossTrend();
      for (const loss of rising.slice(0, count / 2)) resumed.add(loss, 1);
      const second = new LossTrend();
      second.restore(resumed.state());
      expect(second.state().groups.length).toBeLessThanOrEqual(64);
      for (const loss of rising.slice(count / 2)) second.add(loss, 1);
      expect(second.warning(1000)).toBe(warningOf(rising));
      expect(second.warning(1000)).toMatch(/rose over the run, from 2\.[23]\d+ in its first quarter to 3\.[678]\d+/);
    }
  });
});
