import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { corpusBleu } from '../../../src/eval/metrics/bleu.js';
import { corpusChrf } from '../../../src/eval/metrics/chrf.js';
import { classF1, macroF1 } from '../../../src/eval/metrics/classes.js';
import { ciderScores, cocoRougeL, e2eBleu, e2eNist } from '../../../src/eval/metrics/e2e.js';
import { meteor } from '../../../src/eval/metrics/meteor.js';
import { rougeMulti } from '../../../src/eval/metrics/rouge.js';
import { calibrationError, matthews } from '../../../src/eval/metrics/statistics.js';
import { corpusTer } from '../../../src/eval/metrics/ter.js';

interface Segment {
  readonly hypothesis: string;
  readonly references: string[];
  readonly ter: number;
  readonly chrf: number;
  readonly rouge1: number;
  readonly rouge2: number;
  readonly rougeL: number;
  readonly coco_rougeL: number;
  readonly cider: number;
  /** null where a word stands twice: which of the two matches is not what the formula says. */
  readonly meteor: number | null;
}
interface Cases {
  readonly segments: Segment[];
  readonly corpus: Record<'bleu' | 'e2e_bleu' | 'e2e_nist' | 'chrf' | 'chrf++' | 'ter', number>;
  readonly classes: {
    readonly labels: string[];
    readonly found: string[];
    readonly f1: Record<string, number>;
    readonly macro_f1: number;
    readonly matthews: number;
    readonly confidences: number[];
    readonly right: number[];
    readonly calibration_error_4_bins: number;
  };
}

const { segments, corpus, classes } = JSON.parse(readFileSync('test/golden/metrics/cases.json', 'utf8')) as Cases;
const DIGITS = 9;
const words = (text: string): string[] =>
  text
    .toLowerCase()
    .replace(/[.,!?]/g, ' ')
    .split(/\s+/)
    .filter((word) => word !== '');

describe('metrics of texts, against numbers computed apart', () => {
  const hypotheses = segments.map(({ hypothesis }) => hypothesis);
  const references = segments.map((segment) => segment.references);

  it.each(segments)('$hypothesis', (segment) => {
    const { hypothesis, references: group } = segment;
    const found = rougeMulti(hypothesis, group, { types: ['rouge1', 'rouge2', 'rougeL'] });
    for (const type of ['rouge1', 'rouge2', 'rougeL'] as const)
      expect(found[type]?.fmeasure, type).toBeCloseTo(segment[type], DIGITS);
    expect(corpusChrf([hypothesis], [group])).toBeCloseTo(segment.chrf, DIGITS);
    expect(corpusTer([hypothesis], [group])).toBeCloseTo(segment.ter, DIGITS);
    expect(cocoRougeL(words(hypothesis), group.map(words))).toBeCloseTo(segment.coco_rougeL, DIGITS);
    if (segment.meteor !== null)
      expect(meteor(words(hypothesis), group.map(words))).toBeCloseTo(segment.meteor, DIGITS);
  });

  it('of all together', () => {
    expect(corpusBleu(hypotheses, references).score).toBeCloseTo(corpus.bleu, DIGITS);
    expect(e2eBleu(hypotheses, references)).toBeCloseTo(corpus.e2e_bleu, DIGITS);
    expect(e2eNist(hypotheses, references)).toBeCloseTo(corpus.e2e_nist, DIGITS);
    expect(corpusChrf(hypotheses, references)).toBeCloseTo(corpus.chrf, DIGITS);
    expect(corpusChrf(hypotheses, references, { wordOrder: 2 })).toBeCloseTo(corpus['chrf++'], DIGITS);
    expect(corpusTer(hypotheses, references)).toBeCloseTo(corpus.ter, DIGITS);
    ciderScores(
      hypotheses.map(words),
      references.map((group) => group.map(words)),
    ).forEach((score, i) => {
      expect(score, hypotheses[i]).toBeCloseTo(segments[i]?.cider as number, DIGITS);
    });
    expect(segments.filter((segment) => segment.meteor !== null).length).toBeGreaterThan(4);
  });
});

describe('metrics of classes, against numbers computed apart', () => {
  const { labels, found } = classes;
  const read = found.map((label) => (label === '?' ? undefined : label));

  it('F1, macro-F1, Matthews’ correlation', () => {
    for (const [label, wanted] of Object.entries(classes.f1))
      expect(classF1(read, labels, label), label).toBeCloseTo(wanted, DIGITS);
    expect(macroF1(read, labels)).toBeCloseTo(classes.macro_f1, DIGITS);
    expect(matthews(found, labels)).toBeCloseTo(classes.matthews, DIGITS);
  });

  it('calibration error', () => {
    expect(
      calibrationError(
        classes.confidences,
        classes.right.map((right) => right === 1),
        4,
      ),
    ).toBeCloseTo(classes.calibration_error_4_bins, DIGITS);
  });
});
