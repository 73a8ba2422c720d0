import { BLEU_TOKENIZERS, type BleuTokenizer } from './bleu-tokens.js';
import { closestLength, maxCounts, ngramCounts, sharedCount } from './ngrams.js';

const ORDER = 4;

export interface BleuOptions {
  /** Default `13a`. */
  readonly tokenize?: BleuTokenizer;
  readonly lowercase?: boolean;
  /** What stands for an order without matches. Default `exp`. */
  readonly smoothing?: 'exp' | 'floor' | 'add-k' | 'none';
  /** The added count of `add-k` (default 1), the count that `floor` puts for zero (default 0.1). */
  readonly smoothingValue?: number;
  /** Only the orders that the hypothesis is long enough for, as is usual for single sentences. Default false. */
  readonly effectiveOrder?: boolean;
}

export interface BleuScore {
  /** 0 to 100. */
  readonly score: number;
  /** Matches and candidates of each order. */
  readonly counts: readonly number[];
  readonly totals: readonly number[];
  /** In percent, after smoothing. */
  readonly precisions: readonly number[];
  /** Brevity penalty. */
  readonly bp: number;
  readonly systemLength: number;
  readonly referenceLength: number;
}

/**
 * BLEU of a corpus as sacreBLEU computes it: BP · exp(¼ Σₙ ln pₙ), pₙ the clipped n-gram precision of all segments together.
 * @param references any number for each hypothesis, at least one
 * @throws RangeError when the lists do not match
 * Source: Papineni et al. 2002; Post 2018, "A Call for Clarity in Reporting BLEU Scores".
 */
export function corpusBleu(hypotheses: readonly string[], references: readonly (readonly string[])[], options: BleuOptions = {}): BleuScore {
  checkPairs(hypotheses, references);
  const tokens = (text: string): string[] => {
    const trimmed = text.trimEnd();
    return BLEU_TOKENIZERS[options.tokenize ?? '13a'](options.lowercase === true ? trimmed.toLowerCase() : trimmed);
  };
  const counts = new Array<number>(ORDER).fill(0);
  const totals = new Array<number>(ORDER).fill(0);
  let [systemLength, referenceLength] = [0, 0];
  hypotheses.forEach((hypothesis, i) => {
    const found = tokens(hypothesis);
    const wanted = (references[i] as readonly string[]).map(tokens);
    systemLength += found.length;
    referenceLength += closestLength(found.length, wanted.map((t) => t.length));
    for (let n = 1; n <= ORDER; n++) {
      totals[n - 1] = (totals[n - 1] as number) + Math.max(0, found.length - n + 1);
      counts[n - 1] = (counts[n - 1] as number) + sharedCount(ngramCounts(found, n), maxCounts(wanted.map((t) => ngramCounts(t, n))));
    }
  });
  return fromCounts(counts, totals, systemLength, referenceLength, options);
}

/** BLEU of one segment, over the orders that it is long enough for unless told otherwise. */
export function sentenceBleu(hypothesis: string, references: readonly string[], options: BleuOptions = {}): BleuScore {
  return corpusBleu([hypothesis], [references], { effectiveOrder: true, ...options });
}

function fromCounts(counts: number[], totals: number[], systemLength: number, referenceLength: number, options: BleuOptions): BleuScore {
  const { smoothing = 'exp', effectiveOrder = false } = options;
  const value = options.smoothingValue ?? (smoothing === 'floor' ? 0.1 : 1);
  const bp = systemLength >= referenceLength ? 1 : systemLength === 0 ? 0 : Math.exp(1 - referenceLength / systemLength);
  const precisions = new Array<number>(ORDER).fill(0);
  const lengths = { bp, systemLength, referenceLength };
  if (counts.every((count) => count === 0)) return { score: 0, counts, totals, precisions, ...lengths };
  let order = ORDER;
  let halved = 1;
  for (let n = 0; n < ORDER; n++) {
    if (smoothing === 'add-k' && n > 0) {
      counts[n] = (counts[n] as number) + value;
      totals[n] = (totals[n] as number) + value;
    }
    const [count, total] = [counts[n] as number, totals[n] as number];
    if (total === 0) break;
    if (effectiveOrder) order = n + 1;
    if (count > 0) precisions[n] = (100 * count) / total;
    else if (smoothing === 'exp') precisions[n] = 100 / ((halved *= 2) * total);
    else if (smoothing === 'floor') precisions[n] = (100 * value) / total;
  }
  const used = precisions.slice(0, order);
  const score = used.some((p) => p === 0) ? 0 : bp * Math.exp(used.reduce((sum, p) => sum + Math.log(p), 0) / order);
  return { score, counts, totals, precisions, ...lengths };
}

/** @throws RangeError */
export function checkPairs(hypotheses: readonly unknown[], references: readonly (readonly unknown[])[]): void {
  if (hypotheses.length !== references.length) throw new RangeError(`${hypotheses.length} hypotheses for ${references.length} lists of references`);
  const without = references.findIndex((list) => list.length === 0);
  if (without >= 0) throw new RangeError(`hypothesis ${without + 1} has no reference`);
}
