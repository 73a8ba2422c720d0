import { checkPairs } from './bleu.js';
import { ngramCounts, sharedCount, splitWords, totalCount } from './ngrams.js';

export interface ChrfOptions {
  /** Longest word n-gram that counts beside the characters: 0 for chrF (default), 2 for chrF++. */
  readonly wordOrder?: number;
  /** Default 6. */
  readonly charOrder?: number;
  /** Recall counts β² times as much as precision. Default 2. */
  readonly beta?: number;
}

/** For each order: n-grams of the hypothesis, of the reference, shared. */
type Statistics = readonly (readonly [hypothesis: number, reference: number, shared: number])[];

/**
 * chrF of a corpus, 0 to 100, as sacreBLEU computes it: Fβ of the mean n-gram precision and recall over characters without white
 * space (and words); of several references the best counts, segment by segment.
 * Source: Popović 2015, "chrF: character n-gram F-score"; 2017 for chrF++.
 */
export function corpusChrf(hypotheses: readonly string[], references: readonly (readonly string[])[], options: ChrfOptions = {}): number {
  checkPairs(hypotheses, references);
  const { wordOrder = 0, charOrder = 6, beta = 2 } = options;
  const grams = (text: string): Map<string, number>[] => ngramsOf(text, charOrder, wordOrder);
  let sum: Statistics | undefined;
  hypotheses.forEach((hypothesis, i) => {
    const found = grams(hypothesis);
    let best: { f: number; statistics: Statistics } | undefined;
    for (const reference of references[i] as readonly string[]) {
      const statistics = compare(found, grams(reference));
      const f = fScore(statistics, beta);
      if (best === undefined || f > best.f) best = { f, statistics };
    }
    const { statistics } = best as { statistics: Statistics };
    sum = sum === undefined ? statistics : sum.map(([h, r, m], n) => [h + (statistics[n]?.[0] ?? 0), r + (statistics[n]?.[1] ?? 0), m + (statistics[n]?.[2] ?? 0)]);
  });
  return sum === undefined ? 0 : fScore(sum, beta);
}

function ngramsOf(text: string, charOrder: number, wordOrder: number): Map<string, number>[] {
  const characters = [...splitWords(text).join('')];
  const words = splitWords(text).flatMap(detachPunctuation);
  return [
    ...Array.from({ length: charOrder }, (_, n) => ngramCounts(characters, n + 1)),
    ...Array.from({ length: wordOrder }, (_, n) => ngramCounts(words, n + 1)),
  ];
}

/** One ASCII punctuation mark at the end of a word, or else at its beginning, is a word of its own. */
function detachPunctuation(word: string): string[] {
  if ([...word].length === 1) return [word];
  if (/[!-/:-@[-`{-~]$/.test(word)) return [word.slice(0, -1), word.slice(-1)];
  return /^[!-/:-@[-`{-~]/.test(word) ? [word.slice(0, 1), word.slice(1)] : [word];
}

function compare(found: readonly Map<string, number>[], wanted: readonly Map<string, number>[]): Statistics {
  return found.map((counts, n) => {
    const reference = wanted[n] as Map<string, number>;
    return [reference.size > 0 ? totalCount(counts) : 0, totalCount(reference), sharedCount(counts, reference)];
  });
}

function fScore(statistics: Statistics, beta: number): number {
  const orders = statistics.filter(([hypothesis, reference]) => hypothesis > 0 && reference > 0);
  if (orders.length === 0) return 0;
  const precision = orders.reduce((sum, [h, , m]) => sum + m / h, 0) / orders.length;
  const recall = orders.reduce((sum, [, r, m]) => sum + m / r, 0) / orders.length;
  if (precision + recall === 0) return 0;
  return (100 * (1 + beta ** 2) * precision * recall) / (beta ** 2 * precision + recall);
}
