import { checkPairs } from './bleu.js';
import { BLEU_TOKENIZERS } from './bleu-tokens.js';
import {
  closestLength,
  commonSubsequence,
  maxCounts,
  ngramCounts,
  sharedCount,
  sumRows,
  totalCount,
} from './ngrams.js';

/** Stand for a count of zero, so that logarithms exist. */
const TINY = 1e-15;
const SMALL = 1e-9;

const tokens = (text: string): string[] => BLEU_TOKENIZERS['13a'](text).map((token) => token.toLowerCase());

/**
 * BLEU of a corpus in [0, 1] as the scripts of the E2E NLG challenge compute it: mteval-13a tokens in lower case, the
 * closest reference's length, a missing order smoothed to all but nothing.
 * @param smoothing added to hits and candidates of every order; the challenge's sentence scores take 1
 * Source: Dušek, Novikova, Rieser 2020, "Evaluating the State-of-the-Art of End-to-End Natural Language Generation".
 */
export function e2eBleu(
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
  smoothing = 0,
): number {
  return e2eBleuOf(sumRows(e2eBleuStatistics(hypotheses, references)), smoothing);
}

/** Of each segment: hits by order, candidates by order, length of the closest reference, to be added up. */
export function e2eBleuStatistics(
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
): number[][] {
  checkPairs(hypotheses, references);
  return hypotheses.map((hypothesis, i) => {
    const found = tokens(hypothesis);
    const wanted = (references[i] as readonly string[]).map(tokens);
    const hits = [1, 2, 3, 4].map((n) =>
      sharedCount(ngramCounts(found, n), maxCounts(wanted.map((w) => ngramCounts(w, n)))),
    );
    return [
      ...hits,
      ...[0, 1, 2, 3].map((n) => found.length - n),
      closestLength(
        found.length,
        wanted.map((w) => w.length),
      ),
    ];
  });
}

/** BLEU from summed statistics. */
export function e2eBleuOf(sum: readonly number[], smoothing = 0): number {
  const [length, referenceLength] = [sum[4] ?? 0, sum[8] ?? 0];
  const bp = length <= referenceLength ? Math.exp(1 - referenceLength / (length === 0 ? 1e-5 : length)) : 1;
  const logs = [0, 1, 2, 3].map((n) =>
    Math.log(Math.max((sum[n] ?? 0) + smoothing, TINY) / Math.max((sum[4 + n] ?? 0) + smoothing, SMALL)),
  );
  return bp * Math.exp(logs.reduce((total, value) => total + value, 0) / 4);
}

/**
 * NIST of a corpus as the E2E scripts compute it: Σₙ₌₁..₅ of the information of the n-grams that match, over the
 * candidates, times a penalty for short output. An n-gram's information is log₂(count of its first n − 1 words / its
 * count) over all references. Source: Doddington 2002, "Automatic Evaluation of Machine Translation Quality Using
 * N-gram Co-Occurrence Statistics".
 */
export function e2eNist(hypotheses: readonly string[], references: readonly (readonly string[])[]): number {
  return e2eNistOf(sumRows(e2eNistStatistics(hypotheses, references)));
}

/**
 * Of each segment: information of its matches by order, candidates by order, mean length of its references, to be added
 * up. What an n-gram tells is counted over all references that are given.
 */
export function e2eNistStatistics(
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
): number[][] {
  checkPairs(hypotheses, references);
  const orders = [1, 2, 3, 4, 5];
  const groups = references.map((group) => group.map(tokens));
  const seen = orders.map(() => new Map<string, number>());
  for (const [k, n] of orders.entries())
    for (const text of groups.flat())
      for (const [key, count] of ngramCounts(text, n)) add(seen[k] as Map<string, number>, key, count);
  const words = groups.flat().reduce((sum, text) => sum + text.length, 0);
  const information = (key: string, k: number): number => {
    const before =
      k === 0 ? words : ((seen[k - 1] as Map<string, number>).get(key.slice(0, key.lastIndexOf(' '))) as number);
    return Math.log2(before / ((seen[k] as Map<string, number>).get(key) as number));
  };
  return hypotheses.map((hypothesis, i) => {
    const found = tokens(hypothesis);
    const wanted = groups[i] as string[][];
    const told = orders.map((n, k) => {
      const highest = maxCounts(wanted.map((text) => ngramCounts(text, n)));
      let sum = 0;
      for (const [key, count] of ngramCounts(found, n)) {
        const hits = Math.min(count, highest.get(key) ?? 0);
        if (hits > 0) sum += hits * information(key, k);
      }
      return sum;
    });
    // Below zero for texts shorter than n, as the scripts have it.
    const lengths = orders.map((n) => found.length - n + 1);
    return [...told, ...lengths, wanted.reduce((sum, text) => sum + text.length, 0) / wanted.length];
  });
}

/** NIST from summed statistics. */
export function e2eNistOf(sum: readonly number[]): number {
  const score = [0, 1, 2, 3, 4].reduce(
    (total, k) => ((sum[5 + k] ?? 0) > 0 ? total + (sum[k] ?? 0) / (sum[5 + k] as number) : total),
    0,
  );
  return score * nistPenalty((sum[5] ?? 0) / (sum[10] ?? 1));
}

/** ½ at two thirds of the references' mean length, 1 from that length on. */
function nistPenalty(ratio: number): number {
  if (ratio >= 1) return 1;
  if (!(ratio > 0)) return 0;
  return Math.exp((Math.log(0.5) / Math.log(1.5) ** 2) * Math.log(ratio) ** 2);
}

/**
 * ROUGE-L as the COCO caption scripts (and E2E) compute it: F with β = 1.2 of the best precision and the best recall
 * over the references, in [0, 1]. Tokens are given, because those scripts take the Penn Treebank's.
 */
export function cocoRougeL(hypothesis: readonly string[], references: readonly (readonly string[])[]): number {
  const lengths = references.map((reference) => commonSubsequence(reference, hypothesis));
  const precision = Math.max(...lengths.map((length) => length / hypothesis.length));
  const recall = Math.max(...lengths.map((length, i) => length / (references[i] as readonly string[]).length));
  if (precision === 0 || recall === 0) return 0;
  const beta2 = 1.2 ** 2;
  return ((1 + beta2) * precision * recall) / (recall + beta2 * precision);
}

/**
 * CIDEr (its D variant, as in the COCO caption scripts and E2E) of each hypothesis, 0 to 10: the mean over n = 1..4 of
 * the cosine of TF-IDF vectors of n-grams, clipped, with a Gaussian penalty (σ = 6) on the difference in length.
 * Document frequencies are those of the given references. The corpus score is the mean.
 * Source: Vedantam et al. 2015, arXiv:1411.5726.
 */
export function ciderScores(
  hypotheses: readonly (readonly string[])[],
  references: readonly (readonly (readonly string[])[])[],
): number[] {
  checkPairs(hypotheses, references);
  const orders = [1, 2, 3, 4];
  const frequency = new Map<string, number>();
  for (const group of references) {
    const keys = new Set(group.flatMap((reference) => orders.flatMap((n) => [...ngramCounts(reference, n).keys()])));
    for (const key of keys) add(frequency, key, 1);
  }
  const documents = Math.log(references.length);
  const vector = (words: readonly string[]): { weights: Map<string, number>; norm: number }[] =>
    orders.map((n) => {
      const weights = new Map<string, number>();
      for (const [key, count] of ngramCounts(words, n))
        weights.set(key, count * (documents - Math.log(Math.max(1, frequency.get(key) ?? 0))));
      return { weights, norm: Math.sqrt([...weights.values()].reduce((sum, w) => sum + w * w, 0)) };
    });
  return hypotheses.map((hypothesis, i) => {
    const found = vector(hypothesis);
    const group = references[i] as readonly (readonly string[])[];
    const sum = group.reduce((total, reference) => {
      const wanted = vector(reference);
      // The scripts take the number of bigrams for the length.
      const gap = totalCount(ngramCounts(hypothesis, 2)) - totalCount(ngramCounts(reference, 2));
      const penalty = Math.exp(-(gap ** 2) / (2 * 6 ** 2));
      return total + penalty * orders.reduce((s, _, k) => s + cosine(found[k] as Weighted, wanted[k] as Weighted), 0);
    }, 0);
    return (10 * sum) / orders.length / group.length;
  });
}

interface Weighted {
  readonly weights: ReadonlyMap<string, number>;
  readonly norm: number;
}

function cosine(a: Weighted, b: Weighted): number {
  let product = 0;
  for (const [key, weight] of a.weights) {
    const other = b.weights.get(key) ?? 0;
    product += Math.min(weight, other) * other;
  }
  return a.norm > 0 && b.norm > 0 ? product / (a.norm * b.norm) : product;
}

function add(counts: Map<string, number>, key: string, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}
