import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { BLEU_TOKENIZERS } from '../../../src/eval/metrics/bleu-tokens.js';
import { corpusBleu, sentenceBleu, type BleuOptions, type BleuScore } from '../../../src/eval/metrics/bleu.js';
import { corpusChrf } from '../../../src/eval/metrics/chrf.js';
import { ciderScores, cocoRougeL, e2eBleu, e2eNist } from '../../../src/eval/metrics/e2e.js';
import { meteor } from '../../../src/eval/metrics/meteor.js';
import { mean } from '../../../src/eval/metrics/scores.js';
import { corpusTer } from '../../../src/eval/metrics/ter.js';
import { describeReferences, referencePath } from '../../support/references.js';

const FOLDER = 'reference/metrics';
const read = <T>(file: string): T => JSON.parse(readFileSync(referencePath(`${FOLDER}/${file}`), 'utf8')) as T;

interface Pair {
  readonly id: string;
  readonly prediction: string;
  readonly references: string[];
}
interface Bleu {
  readonly score: number;
  readonly counts: number[];
  readonly totals: number[];
  readonly precisions: number[];
  readonly bp: number;
  readonly sys_len: number;
  readonly ref_len: number;
}

const CONFIGURATIONS: Readonly<Record<string, BleuOptions>> = {
  default: {},
  default_effective_order: { effectiveOrder: true },
  no_effective_order: {},
  lowercase: { lowercase: true },
  tok_none: { tokenize: 'none' },
  tok_intl: { tokenize: 'intl' },
  tok_char: { tokenize: 'char' },
  smooth_floor: { smoothing: 'floor' },
  smooth_addk: { smoothing: 'add-k' },
  smooth_none: { smoothing: 'none' },
};

/** The algorithms are deterministic: only the order of float64 sums may differ. */
const DIGITS = 9;

function expectBleu(actual: BleuScore, expected: Bleu, what: string): void {
  expect(actual.counts, `${what} counts`).toEqual(expected.counts);
  expect(actual.totals, `${what} totals`).toEqual(expected.totals);
  expect([actual.systemLength, actual.referenceLength], `${what} lengths`).toEqual([
    expected.sys_len,
    expected.ref_len,
  ]);
  expect(actual.bp, `${what} bp`).toBeCloseTo(expected.bp, DIGITS);
  expect(actual.score, `${what} score`).toBeCloseTo(expected.score, DIGITS);
  expected.precisions.forEach((p, n) => {
    expect(actual.precisions[n], `${what} p${n + 1}`).toBeCloseTo(p, DIGITS);
  });
}

describeReferences('against sacreBLEU', FOLDER, () => {
  type Sentence = Record<string, Bleu> & {
    id: string;
    chrf2: number;
    'chrf2++': number;
    ter: number;
    tokens_13a_prediction: string;
    tokens_intl_prediction: string;
    tokens_13a_ref0: string;
  };
  const reference = read<{
    sentence: Sentence[];
    corpus: Record<
      string,
      { pair_ids: string[]; scores: Record<string, Bleu> & { chrf2: number; 'chrf2++': number; ter: number } }
    >;
  }>('sacrebleu_reference.json');
  const pairs = new Map(read<Pair[]>('pairs.json').map((pair) => [pair.id, pair]));

  it.each(reference.sentence.map((s) => [s.id, s] as const))('%s', (id, expected) => {
    const { prediction, references } = pairs.get(id) as Pair;
    expect(BLEU_TOKENIZERS['13a'](prediction.trimEnd()).join(' ')).toBe(expected.tokens_13a_prediction);
    expect(BLEU_TOKENIZERS['13a']((references[0] as string).trimEnd()).join(' ')).toBe(expected.tokens_13a_ref0);
    expect(BLEU_TOKENIZERS.intl(prediction.trimEnd()).join(' ')).toBe(expected.tokens_intl_prediction);
    for (const [name, options] of Object.entries(CONFIGURATIONS)) {
      const wanted = expected[name];
      if (wanted !== undefined)
        expectBleu(
          sentenceBleu(prediction, references, { effectiveOrder: name !== 'no_effective_order', ...options }),
          wanted,
          name,
        );
    }
    expect(corpusChrf([prediction], [references])).toBeCloseTo(expected.chrf2, DIGITS);
    expect(corpusChrf([prediction], [references], { wordOrder: 2 })).toBeCloseTo(expected['chrf2++'], DIGITS);
    expect(corpusTer([prediction], [references])).toBeCloseTo(expected.ter, DIGITS);
  });

  const single = (name: string): boolean => /first_reference|ref1/.test(name);
  it.each(Object.entries(reference.corpus))('corpus %s', (name, { pair_ids: ids, scores }) => {
    const chosen = ids.map((id) => pairs.get(id) as Pair);
    const predictions = chosen.map((p) => p.prediction);
    const references = chosen.map((p) => (single(name) ? p.references.slice(0, 1) : p.references));
    for (const [configuration, options] of Object.entries(CONFIGURATIONS)) {
      const wanted = scores[configuration];
      if (wanted !== undefined) expectBleu(corpusBleu(predictions, references, options), wanted, configuration);
    }
    expect(corpusChrf(predictions, references)).toBeCloseTo(scores.chrf2, DIGITS);
    expect(corpusChrf(predictions, references, { wordOrder: 2 })).toBeCloseTo(scores['chrf2++'], DIGITS);
    expect(corpusTer(predictions, references)).toBeCloseTo(scores.ter, DIGITS);
  });
});

interface E2eSet {
  readonly system: string[];
  readonly references: string[][];
  readonly tokenized_system: string[];
  readonly tokenized_references: string[][];
  readonly mteval_tokens_system: string[][];
  readonly pymteval: { BLEU: number; NIST: number };
  readonly coco_ROUGE_L: number;
  readonly coco_CIDEr: number;
  readonly sentence: { BLEU: number; sentBLEU: number; NIST: number; ROUGE_L: number; CIDEr: number }[];
}

describeReferences('against the scripts of E2E', FOLDER, () => {
  const { sets } = read<{ sets: Record<string, E2eSet> }>('e2e_metrics_reference.json');

  it.each(Object.entries(sets))('%s', (_name, set) => {
    set.system.forEach((text, i) => {
      expect(BLEU_TOKENIZERS['13a'](text)).toEqual(set.mteval_tokens_system[i]);
    });
    expect(e2eBleu(set.system, set.references)).toBeCloseTo(set.pymteval.BLEU, DIGITS);
    expect(e2eNist(set.system, set.references)).toBeCloseTo(set.pymteval.NIST, DIGITS);
    const words = set.tokenized_system.map((text) => text.split(' '));
    const wanted = set.tokenized_references.map((list) => list.map((text) => text.split(' ')));
    const rouges = words.map((w, i) => cocoRougeL(w, wanted[i] as string[][]));
    const ciders = ciderScores(words, wanted);
    expect(mean(rouges)).toBeCloseTo(set.coco_ROUGE_L, DIGITS);
    expect(mean(ciders)).toBeCloseTo(set.coco_CIDEr, DIGITS);
    set.sentence.forEach((expected, i) => {
      const [system, references] = [[set.system[i] as string], [set.references[i] as string[]]];
      expect(e2eBleu(system, references)).toBeCloseTo(expected.BLEU, DIGITS);
      expect(e2eBleu(system, references, 1)).toBeCloseTo(expected.sentBLEU, DIGITS);
      expect(rouges[i]).toBeCloseTo(expected.ROUGE_L, DIGITS);
      expect(ciders[i]).toBeCloseTo(expected.CIDEr, DIGITS);
    });
  });
});

describeReferences('against NLTK', FOLDER, () => {
  const { rows } = read<{ rows: { id: string; hyp: string[]; refs: string[][]; meteor: number; per_ref: number[] }[] }>(
    'nltk_meteor_exact_stem.json',
  );

  it.each(rows.map((row) => [row.id, row] as const))('METEOR of %s', (_id, row) => {
    expect(meteor(row.hyp, row.refs)).toBeCloseTo(row.meteor, DIGITS);
    row.refs.forEach((reference, i) => {
      expect(meteor(row.hyp, [reference])).toBeCloseTo(row.per_ref[i] as number, DIGITS);
    });
  });
});
