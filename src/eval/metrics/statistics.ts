import { Random } from '../../random.js';
import { mean } from './scores.js';

/** Pearson's correlation Σ(x − x̄)(y − ȳ) / √(Σ(x − x̄)² Σ(y − ȳ)²), in [−1, 1]; NaN when one of them does not vary. */
export function pearson(x: readonly number[], y: readonly number[]): number {
  checkLengths(x, y);
  const [mx, my] = [mean(x), mean(y)];
  let [xy, xx, yy] = [0, 0, 0];
  x.forEach((a, i) => {
    const [dx, dy] = [a - mx, (y[i] as number) - my];
    xy += dx * dy;
    xx += dx * dx;
    yy += dy * dy;
  });
  return xy / Math.sqrt(xx * yy);
}

/** Spearman's correlation: Pearson's of the ranks, equal values sharing their mean rank. */
export function spearman(x: readonly number[], y: readonly number[]): number {
  return pearson(ranks(x), ranks(y));
}

function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => (values[a] as number) - (values[b] as number));
  const result = new Array<number>(values.length);
  for (let begin = 0; begin < order.length;) {
    let end = begin + 1;
    while (end < order.length && values[order[end] as number] === values[order[begin] as number]) end++;
    for (let i = begin; i < end; i++) result[order[i] as number] = (begin + end - 1) / 2;
    begin = end;
  }
  return result;
}

/**
 * Matthews' correlation of predicted and true classes, any number of them, in [−1, 1]; 0 when either side is all one
 * class. Source: Gorodkin 2004 for more than two classes; for two it is (TP·TN − FP·FN) /
 * √((TP+FP)(TP+FN)(TN+FP)(TN+FN)).
 */
export function matthews<T>(predictions: readonly T[], labels: readonly T[]): number {
  checkLengths(predictions, labels);
  const count = labels.length;
  const correct = labels.filter((label, i) => label === predictions[i]).length;
  let [both, predicted, actual] = [0, 0, 0];
  for (const value of new Set([...predictions, ...labels])) {
    const p = predictions.filter((x) => x === value).length;
    const t = labels.filter((x) => x === value).length;
    both += p * t;
    predicted += p * p;
    actual += t * t;
  }
  const scale = Math.sqrt((count * count - predicted) * (count * count - actual));
  return scale === 0 ? 0 : (correct * count - both) / scale;
}

/**
 * Expected calibration error Σ_b |B_b| / n · |accuracy(B_b) − confidence(B_b)| over bins of equal width, in [0, 1].
 * @param confidences probability that the model gave its answer, in [0, 1]
 * Source: Guo et al. 2017, arXiv:1706.04599.
 */
export function calibrationError(confidences: readonly number[], correct: readonly boolean[], bins = 15): number {
  checkLengths(confidences, correct);
  const sums = Array.from({ length: bins }, () => ({ confidence: 0, right: 0 }));
  confidences.forEach((confidence, i) => {
    // A bin holds its upper end, as (a, b].
    const bin = sums[Math.min(bins - 1, Math.max(0, Math.ceil(confidence * bins) - 1))] as (typeof sums)[number];
    bin.confidence += confidence;
    bin.right += correct[i] === true ? 1 : 0;
  });
  return sums.reduce((sum, bin) => sum + Math.abs(bin.right - bin.confidence), 0) / confidences.length;
}

/** An estimate with the interval that holds it with the given probability. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/**
 * Percentile bootstrap interval of a statistic of `count` items: it is computed on `samples` draws of the items with
 * replacement. Draws on which it is no number (a correlation of equal values) do not count; without any other the
 * interval is NaN.
 * @param statistic of the items with these indices
 * @param level probability that the interval holds the value. Default 0.95
 * Source: Efron 1979, "Bootstrap Methods: Another Look at the Jackknife".
 */
export function bootstrap(
  count: number,
  statistic: (indices: readonly number[]) => number,
  options: { samples?: number; seed?: number; level?: number } = {},
): Interval {
  const { samples = 1000, seed = 0, level = 0.95 } = options;
  const random = new Random(seed, 'bootstrap');
  const values = Array.from({ length: samples }, () =>
    statistic(Array.from({ length: count }, () => random.below(count))),
  )
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  if (values.length === 0) return { low: NaN, high: NaN };
  const at = (share: number): number => {
    const place = share * (values.length - 1);
    const below = Math.floor(place);
    const [a, b] = [values[below] as number, values[Math.min(values.length - 1, below + 1)] as number];
    return a + (b - a) * (place - below);
  };
  return { low: at((1 - level) / 2), high: at((1 + level) / 2) };
}

/** Standard deviation of a sample, with n − 1; 0 for one value. */
export function sampleDeviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const center = mean(values);
  return Math.sqrt(values.reduce((sum, v) => sum + (v - center) ** 2, 0) / (values.length - 1));
}

function checkLengths(a: readonly unknown[], b: readonly unknown[]): void {
  if (a.length !== b.length) throw new RangeError(`${a.length} values against ${b.length}`);
}
