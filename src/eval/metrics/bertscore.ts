import { mean } from './scores.js';

/** A text as an encoder sees it, its start and end tokens included. */
export interface EncodedText {
  readonly ids: readonly number[];
  /** Hidden states, `[tokens, dim]` row by row. */
  readonly vectors: Float32Array;
  readonly dim: number;
}

export interface TextEncoderModel {
  encode(text: string): Promise<EncodedText>;
}

export interface BertScoreOptions {
  /** Rare tokens of the references weigh more. */
  readonly idf?: boolean;
  /** Scores of unrelated texts (precision, recall, F1), which become 0. */
  readonly baseline?: readonly [number, number, number] | undefined;
}

export interface BertScore {
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

/** A text with vectors of length one and the weights of its tokens. */
interface Weighed extends EncodedText {
  readonly weights: readonly number[];
}

/**
 * BERTScore of each prediction: P = Σ_j w(x̂_j) max_i cos(x_i, x̂_j) / Σ_j w(x̂_j), R the same with prediction and
 * reference in each other's place, F1 = 2PR / (P + R), of several references the best of each. Start and end tokens
 * weigh nothing, yet may be matched. A text without tokens scores 0.
 * With `idf` w(t) = ln((N + 1) / (n_t + 1)) over the N references, n_t of which hold t; without, w = 1.
 * Source: Zhang et al. 2020, arXiv:1904.09675; details as in its authors' package bert_score.
 */
export async function bertScores(
  predictions: readonly string[],
  references: readonly (readonly string[])[],
  encoder: TextEncoderModel,
  { idf = false, baseline = [0, 0, 0] }: BertScoreOptions = {},
): Promise<BertScore[]> {
  // Of an empty text an encoder sees its start and its end.
  const marks = new Set((await encoder.encode('')).ids);
  const encoded = new Map<string, EncodedText>();
  for (const text of [...predictions, ...references.flat()])
    if (!encoded.has(text)) encoded.set(text, normalised(await encoder.encode(text)));
  const of = (text: string): EncodedText => encoded.get(text) as EncodedText;
  const weightOf = idf ? inverseFrequencies(references.flat().map((text) => of(text).ids)) : () => 1;
  const weighed = (text: string): Weighed => ({
    ...of(text),
    weights: of(text).ids.map((id) => (marks.has(id) ? 0 : weightOf(id))),
  });
  return predictions.map((prediction, i) => {
    const scores = (references[i] ?? []).map((reference) => scorePair(weighed(prediction), weighed(reference)));
    const best = (part: keyof BertScore, base: number): number =>
      (Math.max(...scores.map((score) => score[part])) - base) / (1 - base);
    return {
      precision: best('precision', baseline[0]),
      recall: best('recall', baseline[1]),
      f1: best('f1', baseline[2]),
    };
  });
}

function scorePair(prediction: Weighed, reference: Weighed): BertScore {
  if (prediction.weights.every((w) => w === 0) || reference.weights.every((w) => w === 0))
    return { precision: 0, recall: 0, f1: 0 };
  const precision = greedyMatch(prediction, reference);
  const recall = greedyMatch(reference, prediction);
  return { precision, recall, f1: precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall) };
}

/** The weighted mean over the tokens of one text of the greatest cosine with a token of the other. */
function greedyMatch(from: Weighed, to: Weighed): number {
  const { dim } = from;
  const total = from.weights.reduce((sum, weight) => sum + weight, 0);
  return from.weights.reduce((sum, weight, i) => {
    let greatest = -Infinity;
    for (let j = 0; j < to.ids.length; j++) {
      let cosine = 0;
      for (let k = 0; k < dim; k++)
        cosine += (from.vectors[i * dim + k] as number) * (to.vectors[j * dim + k] as number);
      greatest = Math.max(greatest, cosine);
    }
    return sum + (weight / total) * greatest;
  }, 0);
}

function normalised({ ids, vectors, dim }: EncodedText): EncodedText {
  const lengths = ids.map((_, i) => Math.hypot(...vectors.subarray(i * dim, (i + 1) * dim)) || 1);
  return { ids, dim, vectors: vectors.map((value, at) => value / (lengths[Math.floor(at / dim)] as number)) };
}

function inverseFrequencies(texts: readonly (readonly number[])[]): (id: number) => number {
  const counts = new Map<number, number>();
  for (const ids of texts) for (const id of new Set(ids)) counts.set(id, (counts.get(id) ?? 0) + 1);
  return (id) => Math.log((texts.length + 1) / ((counts.get(id) ?? 0) + 1));
}

/** The parts of the score as metrics. */
export const BERTSCORE_PARTS = ['bertscore_precision', 'bertscore_recall', 'bertscore_f1'] as const;

/** Each part by its name, as the mean over the items given by index. */
export function bertScoreMetrics(
  scores: readonly BertScore[],
): Record<(typeof BERTSCORE_PARTS)[number], (indices: readonly number[]) => number> {
  const average = (part: keyof BertScore) => (indices: readonly number[]) =>
    mean(indices.map((i) => scores[i]?.[part] ?? NaN));
  return {
    bertscore_precision: average('precision'),
    bertscore_recall: average('recall'),
    bertscore_f1: average('f1'),
  };
}
