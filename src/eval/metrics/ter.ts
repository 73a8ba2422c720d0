import { checkPairs } from './bleu.js';
import { editTrace, type Edit } from './ter-edits.js';
import { splitWords, sumRows } from './ngrams.js';

const MAX_SHIFT_SIZE = 10;
const MAX_SHIFT_DISTANCE = 50;
const MAX_SHIFT_CANDIDATES = 1000;

/**
 * Translation edit rate of a corpus in percent, as sacreBLEU computes it (case ignored): the fewest insertions,
 * deletions, substitutions and shifts of phrases found greedily, over the mean length of the references; the best
 * reference counts. Source: Snover et al. 2006, "A Study of Translation Edit Rate with Targeted Human Annotation".
 */
export function corpusTer(hypotheses: readonly string[], references: readonly (readonly string[])[]): number {
  return terOf(sumRows(terStatistics(hypotheses, references)));
}

/** Of each segment the fewest edits and the mean length of its references, to be added up. */
export function terStatistics(hypotheses: readonly string[], references: readonly (readonly string[])[]): number[][] {
  checkPairs(hypotheses, references);
  return hypotheses.map((hypothesis, i) => {
    const found = wordsOf(hypothesis);
    const wanted = (references[i] as readonly string[]).map(wordsOf);
    return [
      Math.min(...wanted.map((words) => editsBetween(found, words))),
      wanted.reduce((sum, words) => sum + words.length, 0) / wanted.length,
    ];
  });
}

/** TER from summed statistics. */
export function terOf([edits = 0, length = 0]: readonly number[]): number {
  if (length > 0) return (100 * edits) / length;
  return edits > 0 ? 100 : 0;
}

function wordsOf(text: string): string[] {
  return splitWords(text.toLowerCase());
}

function editsBetween(hypothesis: readonly string[], reference: readonly string[]): number {
  if (reference.length === 0) return hypothesis.length;
  let words = hypothesis;
  let shifts = 0;
  let candidates = 0;
  for (;;) {
    const found = bestShift(words, reference, candidates);
    candidates = found.candidates;
    if (candidates >= MAX_SHIFT_CANDIDATES || found.gain <= 0) break;
    shifts++;
    words = found.words;
  }
  return shifts + editTrace(words, reference).distance;
}

interface Shift {
  /** Edits saved. */
  readonly gain: number;
  readonly length: number;
  readonly start: number;
  readonly target: number;
  readonly words: readonly string[];
}

/** The shift that saves most; of equal ones the longest, then the earliest, then that to the earliest place. */
function bestShift(
  words: readonly string[],
  reference: readonly string[],
  tried: number,
): { gain: number; words: readonly string[]; candidates: number } {
  const { distance, edits } = editTrace(words, reference);
  const { position, wrongWords, wrongReference } = alignment(edits);
  const wrong = (flags: readonly boolean[], start: number, length: number): boolean =>
    flags.slice(start, start + length).some(Boolean);
  let best: Shift | undefined;
  let candidates = tried;
  for (const { start, at, length } of sharedPhrases(words, reference)) {
    // Only what is wrong is moved, to where something is wrong, and not within itself.
    if (!wrong(wrongWords, start, length) || !wrong(wrongReference, at, length)) continue;
    const aligned = position[at] as number;
    if (aligned >= start && aligned < start + length) continue;
    let previous = -1;
    for (let offset = -1; offset < length; offset++) {
      const beside = at + offset === -1 ? -1 : position[at + offset];
      if (beside === undefined) break;
      const target = at + offset === -1 ? 0 : beside + 1;
      if (target === previous) continue;
      previous = target;
      const shifted = shift(words, start, length, target);
      const candidate = {
        gain: distance - editTrace(shifted, reference).distance,
        length,
        start,
        target,
        words: shifted,
      };
      candidates++;
      if (best === undefined || better(candidate, best)) best = candidate;
    }
    if (candidates >= MAX_SHIFT_CANDIDATES) break;
  }
  return { gain: best?.gain ?? 0, words: best?.words ?? words, candidates };
}

function better(a: Shift, b: Shift): boolean {
  const order = a.gain - b.gain || a.length - b.length || b.start - a.start || b.target - a.target;
  if (order !== 0) return order > 0;
  return a.words.join(' ') > b.words.join(' ');
}

function shift(words: readonly string[], start: number, length: number, target: number): string[] {
  const moved = words.slice(start, start + length);
  const rest = [...words.slice(0, start), ...words.slice(start + length)];
  // Behind the phrase, a target counts the phrase's own words; within it, the phrase moves on by that much.
  const to = target < start ? target : target > start + length ? target - length : target;
  return [...rest.slice(0, to), ...moved, ...rest.slice(to)];
}

function* sharedPhrases(
  words: readonly string[],
  reference: readonly string[],
): Generator<{ start: number; at: number; length: number }> {
  for (let start = 0; start < words.length; start++) {
    for (let at = 0; at < reference.length; at++) {
      if (Math.abs(at - start) > MAX_SHIFT_DISTANCE) continue;
      for (
        let length = 1;
        length <= MAX_SHIFT_SIZE && start + length <= words.length && at + length <= reference.length;
        length++
      ) {
        if (words[start + length - 1] !== reference[at + length - 1]) break;
        yield { start, at, length };
      }
    }
  }
}

/** Where each word of the reference stands in the hypothesis, and which words of either take part in an edit. */
function alignment(edits: readonly Edit[]): { position: number[]; wrongWords: boolean[]; wrongReference: boolean[] } {
  const position: number[] = [];
  const wrongWords: boolean[] = [];
  const wrongReference: boolean[] = [];
  for (const edit of edits) {
    if (edit !== 'insert') wrongWords.push(edit !== 'keep');
    if (edit !== 'delete') {
      position.push(wrongWords.length - 1);
      wrongReference.push(edit !== 'keep');
    }
  }
  return { position, wrongWords, wrongReference };
}
