import { checkPairs } from './bleu.js';
import { ngramCounts, sharedCount, splitWords, sumRows, totalCount } from './ngrams.js';

export interface ChrfOptions {
  /** Longest word n-gram that counts beside the characters: 0 for chrF (default), 2 for chrF++. */
  readonly wordOrder?: number;
  /** Default 6. */
  readonly charOrder?: number;
  /** Recall counts β² times as much as precision. Default 2. */
  readonly beta?: number;
}

/**
 * chrF of a corpus, 0 to 100, as sacreBLEU computes it: Fβ of the mean n-gram precision and recall over characters
 * without white space (and words); of several references the best counts, segment by segment.
 * Source: Popović 2015, "chrF: character n-gram F-score"; 2017 for chrF++.
 */
export function corpusChrf(
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
  options: ChrfOptions = {},
): number {
  return chrfOf(sumRows(chrfStatistics(hypotheses, references, options)), options);
}

/**
 * Of each segment, against its best reference: for each order the n-grams of the hypothesis, of the reference, and
 * shared, to be added up.
 */
export function chrfStatistics(
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
  options: ChrfOptions = {},
): number[][] {
  checkPairs(hypotheses, references);
  const { wordOrder = 0, charOrder = 6 } = options;
  const grams = (text: string): Map<string, number>[] => ngramsOf(text, charOrder, wordOrder);
  return hypotheses.map((hypothesis, i) => {
    const found = grams(hypothesis);
    const all = (references[i] as readonly string[]).map((reference) => compare(found, grams(reference)));
    return all.reduce((best, next) => (chrfOf(next, options) > chrfOf(best, options) ? next : best));
  });
}

/** chrF from summed statistics. */
export function chrfOf(sum: readonly number[], { beta = 2 }: ChrfOptions = {}): number {
  const orders = Array.from(
    { length: sum.length / 3 },
    (_, n) => sum.slice(3 * n, 3 * n + 3) as [number, number, number],
  ).filter(([hypothesis, reference]) => hypothesis > 0 && reference > 0);
  if (orders.length === 0) return 0;
  const precision = orders.reduce((total, [h, , m]) => total + m / h, 0) / orders.length;
  const recall = orders.reduce((total, [, r, m]) => total + m / r, 0) / orders.length;
  if (precision + recall === 0) return 0;
  return (100 * (1 + beta ** 2) * precision * recall) / (beta ** 2 * precision + recall);
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

function compare(found: readonly Map<string, number>[], wanted: readonly Map<string, number>[]): number[] {
  return found.flatMap((counts, n) => {
    const reference = wanted[n] as Map<string, number>;
    return [reference.size > 0 ? totalCount(counts) : 0, totalCount(reference), sharedCount(counts, reference)];
  });
}
