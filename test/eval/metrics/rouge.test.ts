import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { porterStem } from '../../../src/eval/metrics/porter.js';
import {
  meanRouge,
  rouge,
  rougeMulti,
  rougeTokens,
  type RougeScore,
  type RougeType,
} from '../../../src/eval/metrics/rouge.js';
import { describeReferences, referencePath } from '../../support/references.js';

const FILE = referencePath('reference/metrics/rouge_score_reference.json');
const TYPES: readonly RougeType[] = ['rouge1', 'rouge2', 'rouge3', 'rougeL', 'rougeLsum'];

type Triple = [number, number, number];
interface Reference {
  pairs: {
    id: string;
    prediction: string;
    references: string[];
    nostem: Record<string, Triple>[];
    stem: Record<string, Triple>[];
    nostem_multi_ref_best_f1: Record<string, Triple>;
    stem_multi_ref_best_f1: Record<string, Triple>;
    tokens_prediction: string[];
    tokens_prediction_stem: string[];
  }[];
  mean_first_reference_nostem: Record<string, Triple>;
  mean_first_reference_stem: Record<string, Triple>;
  porter_nltk_extensions: Record<string, string>;
}

function expectScores(found: Record<string, RougeScore>, wanted: Record<string, Triple>, label: string): void {
  expect(Object.keys(found).sort(), label).toEqual(Object.keys(wanted).sort());
  for (const [type, [precision, recall, fmeasure]] of Object.entries(wanted)) {
    expect(found[type]?.precision, `${label} ${type} precision`).toBeCloseTo(precision, 9);
    expect(found[type]?.recall, `${label} ${type} recall`).toBeCloseTo(recall, 9);
    expect(found[type]?.fmeasure, `${label} ${type} fmeasure`).toBeCloseTo(fmeasure, 9);
  }
}

describe('ROUGE by hand', () => {
  it('counts clipped n-grams', () => {
    const scores = rouge('the the cat sat', 'the cat sat down', { types: ['rouge1', 'rouge2'] });
    expect(scores['rouge1']).toEqual({ precision: 3 / 4, recall: 3 / 4, fmeasure: 3 / 4 });
    expect(scores['rouge2']).toEqual({ precision: 2 / 3, recall: 2 / 3, fmeasure: 2 / 3 });
  });

  it('takes the longest common subsequence, gaps allowed', () => {
    const { rougeL } = rouge('a x b y c', 'a b c d', { types: ['rougeL'] });
    expect(rougeL?.precision).toBeCloseTo(3 / 5, 12);
    expect(rougeL?.recall).toBeCloseTo(3 / 4, 12);
    expect(rougeL?.fmeasure).toBeCloseTo(2 / 3, 12);
  });

  it('does not mind the order of lines in rougeLsum', () => {
    const prediction = 'b b two\na a one';
    const reference = 'a a one\nb b two';
    const scores = rouge(prediction, reference, { types: ['rougeL', 'rougeLsum'] });
    expect(scores['rougeLsum']?.fmeasure).toBe(1);
    expect(scores['rougeL']?.fmeasure).toBe(0.5);
  });

  it('gives zeros for empty texts and for texts too short for the n-gram', () => {
    const zero = { precision: 0, recall: 0, fmeasure: 0 };
    for (const [prediction, reference] of [
      ['', 'a'],
      ['a', ''],
      ['', ''],
      ['...', '!'],
    ] as const) {
      for (const found of Object.values(rouge(prediction, reference, { types: TYPES }))) expect(found).toEqual(zero);
    }
    expect(rouge('cat', 'cat', { types: ['rouge2'] })['rouge2']).toEqual(zero);
  });

  it('stems only words of more than three letters', () => {
    expect(rougeTokens('Dogs, his ties & RUNNING runners', true)).toEqual(['dog', 'his', 'tie', 'run', 'runner']);
    expect(rougeTokens('Dogs, his ties', false)).toEqual(['dogs', 'his', 'ties']);
  });

  it('picks the best reference for each type and averages over pairs', () => {
    const best = rougeMulti('a b c', ['c b a', 'x a b'], { types: ['rouge1', 'rouge2'] });
    expect(best['rouge1']?.fmeasure).toBe(1);
    expect(best['rouge2']?.fmeasure).toBe(0.5);
    const mean = meanRouge(['a b', 'a b'], ['a b', ['c d', 'a c']], { types: ['rouge1'] });
    expect(mean['rouge1']?.fmeasure).toBe(0.75);
    expect(meanRouge([], [])).toEqual({});
  });

  it('refuses unknown types and lists of different length', () => {
    expect(() => rouge('a', 'a', { types: ['rouge0'] })).toThrow(/rouge0/);
    expect(() => meanRouge(['a'], [])).toThrow(/1 predictions for 0 references/);
  });
});

describe('Porter stems', () => {
  it('applies each group of rules', () => {
    const stems: Record<string, string> = {
      caresses: 'caress',
      flies: 'fli',
      dies: 'die',
      died: 'die',
      spied: 'spi',
      agreed: 'agre',
      feed: 'feed',
      bled: 'bled',
      hopping: 'hop',
      falling: 'fall',
      filing: 'file',
      conflated: 'conflat',
      troubled: 'troubl',
      enjoy: 'enjoy',
      happy: 'happi',
      by: 'by',
      As: 'as',
      rationally: 'ration',
      hopefully: 'hope',
      geology: 'geolog',
      electrical: 'electr',
      adoption: 'adopt',
      controlling: 'control',
      probate: 'probat',
      rate: 'rate',
      dying: 'die',
      proceed: 'proceed',
    };
    for (const [word, stem] of Object.entries(stems)) expect(porterStem(word), word).toBe(stem);
  });
});

describeReferences('ROUGE against rouge_score', 'reference/metrics', () => {
  const reference = JSON.parse(readFileSync(FILE, 'utf8')) as Reference;
  const { pairs } = reference;

  it('has pairs to compare', () => {
    expect(pairs.length).toBeGreaterThan(30);
  });

  it('stems as NLTK does', () => {
    for (const [word, stem] of Object.entries(reference.porter_nltk_extensions)) {
      expect(porterStem(word), word).toBe(stem);
    }
  });

  it.each(pairs.map((pair) => [pair.id, pair] as const))('%s', (_, pair) => {
    expect(rougeTokens(pair.prediction)).toEqual(pair.tokens_prediction);
    expect(rougeTokens(pair.prediction, true)).toEqual(pair.tokens_prediction_stem);
    for (const stemming of [false, true]) {
      const key = stemming ? 'stem' : 'nostem';
      const options = { types: TYPES, stemming };
      pair.references.forEach((text, i) => {
        expectScores(rouge(pair.prediction, text, options), pair[key][i] ?? {}, `${key} ${i}`);
      });
      expectScores(
        rougeMulti(pair.prediction, pair.references, options),
        pair[`${key}_multi_ref_best_f1`],
        `${key} best`,
      );
    }
  });

  it('averages as its aggregator does', () => {
    const predictions = pairs.map((pair) => pair.prediction);
    const first = pairs.map((pair) => pair.references[0] ?? '');
    for (const stemming of [false, true]) {
      const wanted = reference[stemming ? 'mean_first_reference_stem' : 'mean_first_reference_nostem'];
      expectScores(meanRouge(predictions, first, { types: TYPES, stemming }), wanted, `stemming ${stemming}`);
    }
  });
});
