import { BLEU_TOKENIZERS, type BleuTokenizer } from './bleu-tokens.js';
import { closestLength, maxCounts, ngramCounts, sharedCount, sumRows } from './ngrams.js';

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
 * BLEU of a corpus as sacreBLEU computes it: BP · exp(¼ Σₙ ln pₙ), pₙ the clipped n-gram precision of all segments
 * together.
 * @param references any number for each hypothesis, at least one
 * @throws RangeError when the lists do not match
 * Source: Papineni et al. 2002; Post 2018, "A Call for Clarity in Reporting BLEU Scores".
 */
export function corpusBleu(
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
  options: BleuOptions = {},
): BleuScore {
  return bleuOf(sumRows(bleuStatistics(hypotheses, references, options)), options);
}

/**
 * Of each segment what the score is a function of, to be added up: matches and candidates by order, length of
 * hypothesis and reference.
 */
export function bleuStatistics(
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
  options: BleuOptions = {},
): number[][] {
  checkPairs(hypotheses, references);
  const tokens = (text: string): string[] => {
    const trimmed = text.trimEnd();
    return BLEU_TOKENIZERS[options.tokenize ?? '13a'](options.lowercase === true ? trimmed.toLowerCase() : trimmed);
  };
  const orders = Array.from({ length: ORDER }, (_, n) => n + 1);
  return hypotheses.map((hypothesis, i) => {
    const found = tokens(hypothesis);
    const wanted = (references[i] as readonly string[]).map(tokens);
    const matches = orders.map((n) =>
      sharedCount(ngramCounts(found, n), maxCounts(wanted.map((t) => ngramCounts(t, n)))),
    );
    const totals = orders.map((n) => Math.max(0, found.length - n + 1));
    return [
      ...matches,
      ...totals,
      found.length,
      closestLength(
        found.length,
        wanted.map((t) => t.length),
      ),
    ];
  });
}

/** BLEU from summed statistics. */
export function bleuOf(sum: readonly number[], options: BleuOptions = {}): BleuScore {
  return fromCounts(
    sum.slice(0, ORDER),
    sum.slice(ORDER, 2 * ORDER),
    sum[2 * ORDER] ?? 0,
    sum[2 * ORDER + 1] ?? 0,
    options,
  );
}

/** BLEU of one segment, over the orders that it is long enough for unless told otherwise. */
export function sentenceBleu(hypothesis: string, references: readonly string[], options: BleuOptions = {}): BleuScore {
  return corpusBleu([hypothesis], [references], { effectiveOrder: true, ...options });
}

function fromCounts(
  counts: number[],
  totals: number[],
  systemLength: number,
  referenceLength: number,
  options: BleuOptions,
): BleuScore {
  const { smoothing = 'exp', effectiveOrder = false } = options;
  const value = options.smoothingValue ?? (smoothing === 'floor' ? 0.1 : 1);
  const bp =
    systemLength >= referenceLength ? 1 : systemLength === 0 ? 0 : Math.exp(1 - referenceLength / systemLength);
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
  if (hypotheses.length !== references.length)
    throw new RangeError(`${hypotheses.length} hypotheses for ${references.length} lists of references`);
  const without = references.findIndex((list) => list.length === 0);
  if (without >= 0) throw new RangeError(`hypothesis ${without + 1} has no reference`);
}
