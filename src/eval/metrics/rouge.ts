import { porterStem } from './porter.js';

/** Precision, recall and their harmonic mean, each in [0, 1]. */
export interface RougeScore {
  readonly precision: number;
  readonly recall: number;
  readonly fmeasure: number;
}

/** `rougeN` counts n-grams, `rougeL` the longest common subsequence, `rougeLsum` the same line by line. */
export type RougeType = `rouge${number}` | 'rougeL' | 'rougeLsum';

export interface RougeOptions {
  /** Default: rouge1, rouge2, rougeL. */
  readonly types?: readonly RougeType[];
  /** Porter-stem words of more than three letters. Default false. */
  readonly stemming?: boolean;
}

const DEFAULT_TYPES: readonly RougeType[] = ['rouge1', 'rouge2', 'rougeL'];

/** Lower case, everything but a–z and 0–9 is a gap, then (optionally) stems: rouge_score's default tokeniser. */
export function rougeTokens(text: string, stemming = false): string[] {
  const words = text
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');
  return stemming ? words.map((word) => (word.length > 3 ? porterStem(word) : word)) : words;
}

/**
 * ROUGE of one prediction against one reference, as Google's `rouge_score` computes it.
 * `rougeLsum` takes each line (`\n`) for a sentence.
 * Source: C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004).
 * @throws RangeError for an unknown type
 */
export function rouge(prediction: string, reference: string, options: RougeOptions = {}): Record<string, RougeScore> {
  const { types = DEFAULT_TYPES, stemming = false } = options;
  const predicted = rougeTokens(prediction, stemming);
  const expected = rougeTokens(reference, stemming);
  const scores: Record<string, RougeScore> = {};
  for (const type of types) {
    if (type === 'rougeL') scores[type] = longestCommon(predicted, expected);
    else if (type === 'rougeLsum') scores[type] = summaryLevel(lines(prediction, stemming), lines(reference, stemming));
    else scores[type] = ngramOverlap(predicted, expected, ngramSize(type));
  }
  return scores;
}

/** The best score by F of each type over several references; among equals the first reference counts. */
export function rougeMulti(
  prediction: string,
  references: readonly string[],
  options: RougeOptions = {},
): Record<string, RougeScore> {
  const best: Record<string, RougeScore> = {};
  for (const reference of references) {
    for (const [type, score] of Object.entries(rouge(prediction, reference, options))) {
      const held = best[type];
      if (held === undefined || score.fmeasure > held.fmeasure) best[type] = score;
    }
  }
  return best;
}

/**
 * Means over pairs of the same length; an empty list gives an empty record.
 * @throws RangeError when the lists differ in length
 */
export function meanRouge(
  predictions: readonly string[],
  references: readonly (string | readonly string[])[],
  options: RougeOptions = {},
): Record<string, RougeScore> {
  if (predictions.length !== references.length) {
    throw new RangeError(`${predictions.length} predictions for ${references.length} references`);
  }
  const sums = new Map<string, { precision: number; recall: number; fmeasure: number }>();
  predictions.forEach((prediction, i) => {
    const reference = references[i] ?? '';
    const all = typeof reference === 'string' ? [reference] : reference;
    for (const [type, score] of Object.entries(rougeMulti(prediction, all, options))) {
      const sum = sums.get(type) ?? { precision: 0, recall: 0, fmeasure: 0 };
      sum.precision += score.precision;
      sum.recall += score.recall;
      sum.fmeasure += score.fmeasure;
      sums.set(type, sum);
    }
  });
  const count = predictions.length;
  return Object.fromEntries(
    Array.from(sums, ([type, s]) => [
      type,
      { precision: s.precision / count, recall: s.recall / count, fmeasure: s.fmeasure / count },
    ]),
  );
}

function ngramSize(type: string): number {
  const size = /^rouge([1-9])$/.exec(type)?.[1];
  if (size === undefined) throw new RangeError(`unknown ROUGE type "${type}": rouge1 … rouge9, rougeL, rougeLsum`);
  return Number(size);
}

function score(hits: number, predictedCount: number, expectedCount: number): RougeScore {
  const precision = hits / Math.max(predictedCount, 1);
  const recall = hits / Math.max(expectedCount, 1);
  const fmeasure = precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0;
  return { precision, recall, fmeasure };
}

function countAll(items: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

function ngrams(tokens: readonly string[], size: number): string[] {
  return tokens.slice(0, Math.max(tokens.length - size + 1, 0)).map((_, i) => tokens.slice(i, i + size).join(' '));
}

function ngramOverlap(predicted: readonly string[], expected: readonly string[], size: number): RougeScore {
  const ours = ngrams(predicted, size);
  const theirs = ngrams(expected, size);
  const counts = countAll(ours);
  let hits = 0;
  for (const [gram, count] of countAll(theirs)) hits += Math.min(count, counts.get(gram) ?? 0);
  return score(hits, ours.length, theirs.length);
}

/** `[a.length + 1, b.length + 1]`, row-major: the length of the longest common subsequence of each pair of prefixes. */
function lcsTable(a: readonly string[], b: readonly string[]): Uint32Array {
  const width = b.length + 1;
  const table = new Uint32Array((a.length + 1) * width);
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const at = i * width + j;
      table[at] =
        a[i - 1] === b[j - 1] ? (table[at - width - 1] ?? 0) + 1 : Math.max(table[at - width] ?? 0, table[at - 1] ?? 0);
    }
  }
  return table;
}

function longestCommon(predicted: readonly string[], expected: readonly string[]): RougeScore {
  return score(lcsTable(expected, predicted).at(-1) ?? 0, predicted.length, expected.length);
}

/** Positions in `expected` of one longest common subsequence. Which one matters: ties go back along `expected`. */
function lcsPositions(expected: readonly string[], predicted: readonly string[]): number[] {
  const table = lcsTable(expected, predicted);
  const width = predicted.length + 1;
  const positions: number[] = [];
  let i = expected.length;
  let j = predicted.length;
  while (i > 0 && j > 0) {
    if (expected[i - 1] === predicted[j - 1]) {
      positions.push(i - 1);
      i--;
      j--;
    } else if ((table[i * width + j - 1] ?? 0) > (table[(i - 1) * width + j] ?? 0)) j--;
    else i--;
  }
  return positions;
}

/** ROUGE-Lsum: per reference line the union of its subsequences with all predicted lines, each word used once. */
function summaryLevel(predicted: readonly string[][], expected: readonly string[][]): RougeScore {
  const ours = countAll(predicted.flat());
  const theirs = countAll(expected.flat());
  let hits = 0;
  for (const line of expected) {
    const union = new Set(predicted.flatMap((candidate) => lcsPositions(line, candidate)));
    for (const position of Array.from(union).sort((a, b) => a - b)) {
      const word = line[position] ?? '';
      const [left, right] = [ours.get(word) ?? 0, theirs.get(word) ?? 0];
      if (left === 0 || right === 0) continue;
      hits++;
      ours.set(word, left - 1);
      theirs.set(word, right - 1);
    }
  }
  return score(hits, predicted.flat().length, expected.flat().length);
}

function lines(text: string, stemming: boolean): string[][] {
  return text.split('\n').map((line) => rougeTokens(line, stemming));
}
