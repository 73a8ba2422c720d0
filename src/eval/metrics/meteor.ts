import { porterStem } from './porter.js';

/**
 * METEOR with exact and stem matches only, as NLTK computes it without a WordNet: (1 − γ·(chunks / matches)^β) · PR /
 * (αP + (1 − α)R), α = 0.9, β = 3, γ = 0.5, the best over the references, in [0, 1]. It is not METEOR 1.5, which also
 * knows synonyms and paraphrases and has other weights: its numbers are higher or lower and must not be compared with
 * these. Source: Banerjee and Lavie 2005; Lavie and Agarwal 2007 for the parameters.
 */
export function meteor(hypothesis: readonly string[], references: readonly (readonly string[])[]): number {
  return Math.max(0, ...references.map((reference) => single(lower(hypothesis), lower(reference))));
}

function single(hypothesis: readonly string[], reference: readonly string[]): number {
  const matches = align(hypothesis, reference);
  if (matches.length === 0) return 0;
  const precision = matches.length / hypothesis.length;
  const recall = matches.length / reference.length;
  const mean = (precision * recall) / (0.9 * precision + 0.1 * recall);
  return (1 - 0.5 * (chunks(matches) / matches.length) ** 3) * mean;
}

type Match = readonly [hypothesis: number, reference: number];

/** Exact matches first, then stems among what is left, each from the end of both texts. */
function align(hypothesis: readonly string[], reference: readonly string[]): Match[] {
  const matches: Match[] = [];
  const left = hypothesis.map((_, i) => i);
  const right = reference.map((_, i) => i);
  for (const form of [(word: string) => word, porterStem]) {
    const a = hypothesis.map(form);
    const b = reference.map(form);
    for (let i = left.length - 1; i >= 0; i--) {
      const j = right.findLastIndex((at) => b[at] === a[left[i] as number]);
      if (j < 0) continue;
      matches.push([left[i] as number, right[j] as number]);
      left.splice(i, 1);
      right.splice(j, 1);
    }
  }
  return matches.sort((x, y) => x[0] - y[0]);
}

/** Runs of matches that are neighbours in both texts. */
function chunks(matches: readonly Match[]): number {
  return matches.filter(([h, r], i) => {
    const before = matches[i - 1];
    return before === undefined || h !== before[0] + 1 || r !== before[1] + 1;
  }).length;
}

function lower(words: readonly string[]): string[] {
  return words.map((word) => word.toLowerCase());
}
