import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { corpusBleu, sentenceBleu, type BleuOptions } from '../../../src/eval/metrics/bleu.js';
import { corpusChrf } from '../../../src/eval/metrics/chrf.js';
import { corpusTer } from '../../../src/eval/metrics/ter.js';

interface Bleu {
  readonly score: number;
  readonly counts: number[];
  readonly totals: number[];
  readonly precisions: number[];
  readonly bp: number;
  readonly sys_len: number;
  readonly ref_len: number;
}
interface Case {
  readonly hypotheses: string[];
  readonly references: string[][];
  /** One text, scored as a sentence: BLEU with effective order. */
  readonly sentence: boolean;
  readonly bleu: Record<string, Bleu>;
  readonly chrf: number;
  readonly 'chrf++': number;
  readonly ter: number;
}

const OPTIONS: Readonly<Record<string, BleuOptions>> = {
  default: {},
  lowercase: { lowercase: true },
  none: { tokenize: 'none' },
  intl: { tokenize: 'intl' },
  char: { tokenize: 'char' },
  floor: { smoothing: 'floor' },
  'add-k': { smoothing: 'add-k' },
  'no smoothing': { smoothing: 'none' },
};

/** Only the order of float64 sums may differ. */
const DIGITS = 9;

describe('texts of our own, as sacreBLEU 2.6 scores them (scripts/golden/sacrebleu_scores.py)', () => {
  const { cases } = JSON.parse(readFileSync('test/golden/sacrebleu/scores.json', 'utf8')) as { cases: Case[] };

  it.each(
    cases.map(
      (entry, i) => [entry.sentence ? JSON.stringify(entry.hypotheses[0]) : `all together, ${i}`, entry] as const,
    ),
  )('%s', (_title, entry) => {
    const { hypotheses, references, sentence, bleu } = entry;
    expect(Object.keys(bleu)).toEqual(Object.keys(OPTIONS));
    for (const [name, wanted] of Object.entries(bleu)) {
      const options = OPTIONS[name] as BleuOptions;
      const actual = sentence
        ? sentenceBleu(hypotheses[0] as string, references[0] as string[], { effectiveOrder: true, ...options })
        : corpusBleu(hypotheses, references, options);
      expect({ ...actual, score: 0, bp: 0, precisions: [] }, name).toMatchObject({
        counts: wanted.counts,
        totals: wanted.totals,
        systemLength: wanted.sys_len,
        referenceLength: wanted.ref_len,
      });
      expect(actual.score, name).toBeCloseTo(wanted.score, DIGITS);
      expect(actual.bp, name).toBeCloseTo(wanted.bp, DIGITS);
      wanted.precisions.forEach((p, n) =>
        expect(actual.precisions[n], `${name}, ${n + 1}-grams`).toBeCloseTo(p, DIGITS),
      );
    }
    expect(corpusChrf(hypotheses, references)).toBeCloseTo(entry.chrf, DIGITS);
    expect(corpusChrf(hypotheses, references, { wordOrder: 2 })).toBeCloseTo(entry['chrf++'], DIGITS);
    expect(corpusTer(hypotheses, references)).toBeCloseTo(entry.ter, DIGITS);
  });
});
