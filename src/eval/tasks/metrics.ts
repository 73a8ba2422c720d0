import { sameNumber } from '../metrics/answers.js';
import { bleuOf, bleuStatistics } from '../metrics/bleu.js';
import { captionWords } from '../metrics/caption-words.js';
import { chrfOf, chrfStatistics } from '../metrics/chrf.js';
import { classF1, macroF1 } from '../metrics/classes.js';
import { ciderScores, cocoRougeL, e2eBleuOf, e2eBleuStatistics, e2eNistOf, e2eNistStatistics } from '../metrics/e2e.js';
import { meteor } from '../metrics/meteor.js';
import { sumRows } from '../metrics/ngrams.js';
import { rougeMulti, type RougeType } from '../metrics/rouge.js';
import { exactMatch, leadingLabel, mean, tokenF1 } from '../metrics/scores.js';
import { matthews, pearson, spearman } from '../metrics/statistics.js';
import { terOf, terStatistics } from '../metrics/ter.js';

/** Made for a list of items: the value over any of them, given by index, an item maybe more than once. */
export type Scorer = (indices: readonly number[]) => number;

/** A score of generated texts against references; its scale is in `METRIC_SCALES`. */
export interface TextMetric {
  readonly scorer: (predictions: readonly string[], references: readonly (readonly string[])[]) => Scorer;
}

/** Scores every item by itself; the value is the mean. */
function itemMean(score: (prediction: string, references: readonly string[]) => number): TextMetric['scorer'] {
  return (predictions, references) =>
    ofItems(predictions.map((prediction, i) => score(prediction, references[i] as readonly string[])));
}

function ofItems(scores: readonly number[]): Scorer {
  return (indices) => mean(indices.map((i) => scores[i] as number));
}

/** A function of sums over the items. */
function ofSums(
  statistics: (predictions: readonly string[], references: readonly (readonly string[])[]) => number[][],
  score: (sum: readonly number[]) => number,
): TextMetric['scorer'] {
  return (predictions, references) => {
    const rows = statistics(predictions, references);
    return (indices) => score(sumRows(indices.map((i) => rows[i] as number[])));
  };
}

/** A relation between the predictions and the first references. */
function ofPairs<T>(
  read: (text: string, labels: readonly string[]) => T,
  relate: (found: readonly T[], wanted: readonly T[]) => number,
): TextMetric['scorer'] {
  return (predictions, references) => {
    const labels = [...new Set(references.map(([first = '']) => first.trim()))];
    const found = predictions.map((text) => read(text, labels));
    const wanted = references.map(([first = '']) => read(first, labels));
    return (indices) =>
      relate(
        indices.map((i) => found[i] as T),
        indices.map((i) => wanted[i] as T),
      );
  };
}

const rougeF = (type: RougeType, stemming: boolean): TextMetric => ({
  scorer: itemMean(
    (prediction, references) => rougeMulti(prediction, references, { types: [type], stemming })[type]?.fmeasure ?? 0,
  ),
});

/** Every metric of generated text, by the name that a task file gives it. */
export const TEXT_METRICS = {
  rouge1: rougeF('rouge1', false),
  rouge2: rougeF('rouge2', false),
  rougeL: rougeF('rougeL', false),
  rougeLsum: rougeF('rougeLsum', false),
  rouge1_stem: rougeF('rouge1', true),
  rouge2_stem: rougeF('rouge2', true),
  rougeL_stem: rougeF('rougeL', true),
  rougeLsum_stem: rougeF('rougeLsum', true),
  bleu: { scorer: ofSums(bleuStatistics, (sum) => bleuOf(sum).score) },
  chrf: { scorer: ofSums(chrfStatistics, chrfOf) },
  'chrf++': { scorer: ofSums((p, r) => chrfStatistics(p, r, { wordOrder: 2 }), chrfOf) },
  ter: { scorer: ofSums(terStatistics, terOf) },
  e2e_bleu: { scorer: ofSums(e2eBleuStatistics, e2eBleuOf) },
  e2e_nist: { scorer: ofSums(e2eNistStatistics, e2eNistOf) },
  e2e_rougeL: {
    scorer: itemMean((prediction, references) => cocoRougeL(captionWords(prediction), references.map(captionWords))),
  },
  e2e_cider: {
    scorer: (predictions, references) =>
      ofItems(
        ciderScores(
          predictions.map(captionWords),
          references.map((group) => group.map(captionWords)),
        ),
      ),
  },
  meteor: {
    scorer: itemMean((prediction, references) => meteor(captionWords(prediction), references.map(captionWords))),
  },
  exact_match: {
    scorer: itemMean((prediction, references) => (exactMatch(prediction, references) ? 1 : 0)),
  },
  token_f1: { scorer: itemMean(tokenF1) },
  number_match: {
    scorer: itemMean((prediction, references) =>
      references.some((reference) => sameNumber(prediction, reference)) ? 1 : 0,
    ),
  },
  accuracy: {
    scorer: ofPairs(leadingLabel, (found, wanted) =>
      mean(found.map((label, i) => (label !== undefined && label === wanted[i] ? 1 : 0))),
    ),
  },
  matthews: { scorer: ofPairs((text, labels) => leadingLabel(text, labels) ?? '', matthews) },
  macro_f1: { scorer: ofPairs(leadingLabel, macroF1) },
  pearson: { scorer: ofPairs(firstNumber, pearson) },
  spearman: { scorer: ofPairs(firstNumber, spearman) },
} as const satisfies Record<string, TextMetric>;

/** F1 of the class with this label, the first reference of each item being its true class. */
export function classF1Scorer(
  label: string,
  predictions: readonly string[],
  references: readonly (readonly string[])[],
): Scorer {
  return ofPairs(leadingLabel, (found, wanted) => classF1(found, wanted, label))(predictions, references);
}

export type TextMetricName = keyof typeof TEXT_METRICS;

/** What stands for an answer without a number counts as 0, as in the scripts of GLUE's regressions. */
function firstNumber(text: string): number {
  return Number(/-?\d+(?:\.\d+)?/.exec(text)?.[0] ?? 0);
}
