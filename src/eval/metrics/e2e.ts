import { checkPairs } from './bleu.js';
import { BLEU_TOKENIZERS } from './bleu-tokens.js';
import { closestLength, commonSubsequence, maxCounts, ngramCounts, sharedCount, totalCount } from './ngrams.js';

/** Stand for a count of zero, so that logarithms exist. */
const TINY = 1e-15;
const SMALL = 1e-9;

const tokens = (text: string): string[] => BLEU_TOKENIZERS['13a'](text).map((token) => token.toLowerCase());

/**
 * BLEU of a corpus in [0, 1] as the scripts of the E2E NLG challenge compute it: mteval-13a tokens in lower case, the closest
 * reference's length, a missing order smoothed to all but nothing.
 * @param smoothing added to hits and candidates of every order; the challenge's sentence scores take 1
 * Source: Dušek, Novikova, Rieser 2020, "Evaluating the State-of-the-Art of End-to-End Natural Language Generation".
 */
export function e2eBleu(hypotheses: readonly string[], references: readonly (readonly string[])[], smoothing = 0): number {
  checkPairs(hypotheses, references);
  const hits = [0, 0, 0, 0];
  const lengths = [0, 0, 0, 0];
  let referenceLength = 0;
  hypotheses.forEach((hypothesis, i) => {
    const found = tokens(hypothesis);
    const wanted = (references[i] as readonly string[]).map(tokens);
    referenceLength += closestLength(found.length, wanted.map((w) => w.length));
    for (let n = 0; n < 4; n++) {
      hits[n] = (hits[n] as number) + sharedCount(ngramCounts(found, n + 1), maxCounts(wanted.map((w) => ngramCounts(w, n + 1))));
      lengths[n] = (lengths[n] as number) + found.length - n;
    }
  });
  const [length] = lengths as [number];
  const bp = length <= referenceLength ? Math.exp(1 - referenceLength / (length === 0 ? 1e-5 : length)) : 1;
  const logs = hits.map((hit, n) => Math.log(Math.max(hit + smoothing, TINY) / Math.max((lengths[n] as number) + smoothing, SMALL)));
  return bp * Math.exp(logs.reduce((sum, value) => sum + value, 0) / 4);
}

/**
 * NIST of a corpus as the E2E scripts compute it: Σₙ₌₁..₅ of the information of the n-grams that match, over the candidates, times a
 * penalty for short output. An n-gram's information is log₂(count of its first n − 1 words / its count) over all references.
 * Source: Doddington 2002, "Automatic Evaluation of Machine Translation Quality Using N-gram Co-Occurrence Statistics".
 */
export function e2eNist(hypotheses: readonly string[], references: readonly (readonly string[])[]): number {
  checkPairs(hypotheses, references);
  const orders = [1, 2, 3, 4, 5];
  const seen = orders.map(() => new Map<string, number>());
  const matched = orders.map(() => new Map<string, number>());
  const lengths = orders.map(() => 0);
  let [words, meanLength] = [0, 0];
  hypotheses.forEach((hypothesis, i) => {
    const found = tokens(hypothesis);
    const wanted = (references[i] as readonly string[]).map(tokens);
    const all = wanted.reduce((sum, w) => sum + w.length, 0);
    words += all;
    meanLength += all / wanted.length;
    for (const [k, n] of orders.entries()) {
      const counts = wanted.map((w) => ngramCounts(w, n));
      for (const each of counts) for (const [key, count] of each) add(seen[k] as Map<string, number>, key, count);
      const highest = maxCounts(counts);
      for (const [key, count] of ngramCounts(found, n)) add(matched[k] as Map<string, number>, key, Math.min(count, highest.get(key) ?? 0));
      // Below zero for texts shorter than n, as the scripts have it.
      lengths[k] = (lengths[k] as number) + found.length - n + 1;
    }
  });
  let score = 0;
  for (const [k] of orders.entries()) {
    let information = 0;
    for (const [key, count] of matched[k] as Map<string, number>) {
      if (count === 0) continue;
      const before = k === 0 ? words : ((seen[k - 1] as Map<string, number>).get(key.slice(0, key.lastIndexOf(' '))) as number);
      information += count * Math.log2(before / ((seen[k] as Map<string, number>).get(key) as number));
    }
    if ((lengths[k] as number) > 0) score += information / (lengths[k] as number);
  }
  return score * nistPenalty((lengths[0] as number) / meanLength);
}

/** ½ at two thirds of the references' mean length, 1 from that length on. */
function nistPenalty(ratio: number): number {
  if (ratio >= 1) return 1;
  if (!(ratio > 0)) return 0;
  return Math.exp((Math.log(0.5) / Math.log(1.5) ** 2) * Math.log(ratio) ** 2);
}

/**
 * ROUGE-L as the COCO caption scripts (and E2E) compute it: F with β = 1.2 of the best precision and the best recall over the
 * references, in [0, 1]. Tokens are given, because those scripts take the Penn Treebank's.
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
 * CIDEr (its D variant, as in the COCO caption scripts and E2E) of each hypothesis, 0 to 10: the mean over n = 1..4 of the cosine of
 * TF-IDF vectors of n-grams, clipped, with a Gaussian penalty (σ = 6) on the difference in length. Document frequencies are those of
 * the given references. The corpus score is the mean.
 * Source: Vedantam et al. 2015, arXiv:1411.5726.
 */
export function ciderScores(hypotheses: readonly (readonly string[])[], references: readonly (readonly (readonly string[])[])[]): number[] {
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
      for (const [key, count] of ngramCounts(words, n)) weights.set(key, count * (documents - Math.log(Math.max(1, frequency.get(key) ?? 0))));
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
