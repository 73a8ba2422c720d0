import { expect, it } from 'vitest';
import { sampleToken } from '../../src/eval/sample.js';
import { Random } from '../../src/random.js';

const LOGITS = Float32Array.from([0, 2, 1, -1, 2]);
const draw = (options: { temperature?: number; topK?: number; topP?: number }, count = 4000): number[] => {
  const random = new Random(5);
  const counts = new Array<number>(LOGITS.length).fill(0);
  for (let i = 0; i < count; i++) {
    const token = sampleToken(LOGITS, { temperature: 1, topK: 0, topP: 1, ...options }, random);
    counts[token] = (counts[token] as number) + 1;
  }
  return counts.map((n) => n / count);
};

it('takes the first of the likeliest at temperature 0', () => {
  expect(draw({ temperature: 0 }, 10)).toEqual([0, 1, 0, 0, 0]);
});

it('draws with the probabilities of the softmax', () => {
  const weights = Array.from(LOGITS, Math.exp);
  const sum = weights.reduce((a, b) => a + b, 0);
  // Four standard deviations of 4000 draws are at most 0.032.
  draw({}).forEach((share, i) => expect(Math.abs(share - (weights[i] as number) / sum)).toBeLessThan(0.032));
});

it('keeps to the top k, and to the smallest set that reaches top p', () => {
  expect(draw({ topK: 2 }).map((share) => share > 0)).toEqual([false, true, false, false, true]);
  // The two likeliest hold 0.39 each.
  expect(draw({ topP: 0.7 }).map((share) => share > 0)).toEqual([false, true, false, false, true]);
  expect(draw({ topP: 0.01 }).map((share) => share > 0)).toEqual([false, true, false, false, false]);
});
