import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { captionWords } from '../../../src/eval/metrics/caption-words.js';
import { TEXT_METRICS } from '../../../src/eval/tasks/metrics.js';
import { describeReferences, referencePath } from '../../support/references.js';

interface ScriptSet {
  readonly system: string[];
  readonly references: string[][];
  readonly tokenized_system: string[];
  readonly coco_ROUGE_L: number;
  readonly coco_CIDEr: number;
}

const FILE = referencePath('reference/metrics/e2e_metrics_reference.json');

describe('caption words', () => {
  it('are lower case, without punctuation, contractions in two', () => {
    expect(captionWords("It's near the Café (don't ask), family-friendly.")).toEqual([
      'it',
      "'s",
      'near',
      'the',
      'café',
      'do',
      "n't",
      'ask',
      'family-friendly',
    ]);
  });

  it('keep numbers and abbreviations whole', () => {
    expect(captionWords('It costs $1,234.56 on 2024-05-01, i.e. 50% off. So.')).toEqual([
      'it',
      'costs',
      '$',
      '1,234.56',
      'on',
      '2024-05-01',
      'i.e.',
      '50',
      '%',
      'off',
      'so',
    ]);
  });
});

describeReferences('caption words beside those of the references', 'reference/metrics', () => {
  // `pairs` has sentences made to break tokenizers, in which the references' own approximation of the Java tool is no
  // better.
  const { sets: all } = JSON.parse(readFileSync(FILE, 'utf8')) as { sets: Record<string, ScriptSet> };
  const sets = Object.entries(all).filter(([name]) => name !== 'pairs');

  it.each(sets)(
    '%s: nearly the same words, and scores from the texts themselves',
    (_name, { system, references, tokenized_system, coco_ROUGE_L, coco_CIDEr }) => {
      const same = system.filter((text, i) => captionWords(text).join(' ') === tokenized_system[i]);
      expect(same.length / system.length).toBeGreaterThanOrEqual(0.97);
      const items = system.map((_, i) => i);
      // What the words that differ change.
      expect(Math.abs(TEXT_METRICS.e2e_rougeL.scorer(system, references)(items) - coco_ROUGE_L)).toBeLessThan(5e-4);
      expect(Math.abs(TEXT_METRICS.e2e_cider.scorer(system, references)(items) - coco_CIDEr)).toBeLessThan(5e-3);
    },
  );
});
