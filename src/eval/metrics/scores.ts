/**
 * Lower case, without punctuation, without a, an, the, single spaces: how SQuAD compares answers.
 * Source: Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (2016).
 */
export function normalizeAnswer(text: string): string {
  return text
    .toLowerCase()
    .replace(/[!-/:-@[-`{-~]/g, '')
    .replace(/\b(a|an|the)\b/g, ' ')
    .split(/\s+/)
    .filter((word) => word !== '')
    .join(' ');
}

/** Whether the prediction is one of the accepted answers after `normalizeAnswer`. */
export function exactMatch(prediction: string, answers: string | readonly string[]): boolean {
  const found = normalizeAnswer(prediction);
  return asList(answers).some((answer) => normalizeAnswer(answer) === found);
}

/**
 * F = 2PR / (P + R) over the words two normalised answers share, the best over the accepted answers. In [0, 1].
 * Two empty answers agree; one empty answer never does.
 */
export function tokenF1(prediction: string, answers: string | readonly string[]): number {
  const found = words(prediction);
  return Math.max(0, ...asList(answers).map((answer) => wordF1(found, words(answer))));
}

/** The share of pairs that `same` accepts (by default: strict equality), in [0, 1]; NaN for no pairs. */
export function accuracy<T>(
  predictions: readonly T[],
  labels: readonly T[],
  same: (prediction: T, label: T) => boolean = (a, b) => a === b,
): number {
  if (predictions.length !== labels.length) {
    throw new RangeError(`${predictions.length} predictions for ${labels.length} labels`);
  }
  return mean(predictions.map((prediction, i) => (same(prediction, labels[i] as T) ? 1 : 0)));
}

/**
 * The longest of `labels` that a completion begins with, letter case and leading space aside: free text read as a
 * class. A label only counts where a word ends ("positively" is not "positive").
 */
export function leadingLabel(completion: string, labels: readonly string[]): string | undefined {
  const text = completion.trimStart().toLowerCase();
  const found = labels.filter((label) => {
    const wanted = label.toLowerCase();
    return text.startsWith(wanted) && !/^[\p{L}\p{N}]/u.test(text.slice(wanted.length));
  });
  return found.sort((a, b) => b.length - a.length)[0];
}

/** Arithmetic mean; NaN for an empty list. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function asList(answers: string | readonly string[]): readonly string[] {
  return typeof answers === 'string' ? [answers] : answers;
}

function words(text: string): string[] {
  return normalizeAnswer(text)
    .split(' ')
    .filter((word) => word !== '');
}

function wordF1(found: readonly string[], wanted: readonly string[]): number {
  if (found.length === 0 || wanted.length === 0) return found.length === wanted.length ? 1 : 0;
  const left = new Map<string, number>();
  for (const word of wanted) left.set(word, (left.get(word) ?? 0) + 1);
  let shared = 0;
  for (const word of found) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    shared++;
    left.set(word, count - 1);
  }
  if (shared === 0) return 0;
  const precision = shared / found.length;
  const recall = shared / wanted.length;
  return (2 * precision * recall) / (precision + recall);
}
