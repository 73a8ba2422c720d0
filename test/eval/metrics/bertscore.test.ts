import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openEncoder } from '../../../src/eval/metrics/bert-encoder.js';
import { bertScores, type TextEncoderModel } from '../../../src/eval/metrics/bertscore.js';
import { metricNames, parseTasks } from '../../../src/eval/tasks/schema.js';
import { writeTinyEncoder } from '../../support/tiny-encoder.js';

/** Vectors whose cosines are simple: a·b = 0.6, b·c = 0.8, a·c = 0, and nothing is like the marks. */
const WORDS = {
  '[UNK]': [0, 0, -1],
  '[CLS]': [0, 0, 2],
  '[SEP]': [0, 0, 1],
  a: [3, 0, 0],
  b: [0.6, 0.8, 0],
  c: [0, 2, 0],
};
const names = Object.keys(WORDS);

const words: TextEncoderModel = {
  encode(text) {
    const tokens = ['[CLS]', ...text.split(' ').filter((word) => word !== ''), '[SEP]'] as (keyof typeof WORDS)[];
    return Promise.resolve({
      ids: tokens.map((token) => names.indexOf(token)),
      vectors: Float32Array.from(tokens.flatMap((token) => WORDS[token])),
      dim: 3,
    });
  },
};

const f1 = (p: number, r: number): number => (2 * p * r) / (p + r);

describe('BERTScore', () => {
  it('matches every token with the one that is most like it', async () => {
    const [score] = await bertScores(['a c'], [['b']], words);
    // a: 0.6 with b; c: 0.8 with b. b: 0.8 with c.
    expect(score?.precision).toBeCloseTo(0.7, 6);
    expect(score?.recall).toBeCloseTo(0.8, 6);
    expect(score?.f1).toBeCloseTo(f1(0.7, 0.8), 6);
    const [same] = await bertScores(['a b c'], [['a b c']], words);
    for (const part of [same?.precision, same?.recall, same?.f1]) expect(part).toBeCloseTo(1, 6);
  });

  it('takes the best of several references, part by part, and nothing for an empty text', async () => {
    // Against "a": P = (1 + 0) / 2, R = 1. Against "b": P = 0.7, R = 0.8.
    const [score, empty] = await bertScores(['a c', ''], [['a', 'b'], ['a']], words);
    expect(score?.precision).toBeCloseTo(0.7, 6);
    expect(score?.recall).toBeCloseTo(1, 6);
    expect(score?.f1).toBeCloseTo(f1(0.7, 0.8), 6);
    expect(empty).toEqual({ precision: 0, recall: 0, f1: 0 });
  });

  it('weighs tokens by how rare they are in the references', async () => {
    // Of two references b is in both: ln(3/3) = 0; a in one: ln(3/2); c in none: ln(3/1).
    const [, score] = await bertScores(['b', 'a c'], [['b'], ['a b']], words, { idf: true });
    const [a, c] = [Math.log(1.5), Math.log(3)];
    expect(score?.precision).toBeCloseTo((a * 1 + c * 0.8) / (a + c), 6);
    expect(score?.recall).toBeCloseTo(1, 6);
  });

  it('is stretched between a baseline and 1 where one is given', async () => {
    const [score] = await bertScores(['a c'], [['b']], words, { baseline: [0.4, 0.5, 0.2] });
    expect(score?.precision).toBeCloseTo((0.7 - 0.4) / 0.6, 6);
    expect(score?.recall).toBeCloseTo((0.8 - 0.5) / 0.5, 6);
    expect(score?.f1).toBeCloseTo((f1(0.7, 0.8) - 0.2) / 0.8, 6);
  });
});

const task = { name: 't', type: 'generate', data: 'x', prompt: 'p', references: 'r' };

describe('a task file', () => {
  it('names the encoder beside itself, and may ask for other metrics too', () => {
    const [parsed] = parseTasks(
      JSON.stringify({ tasks: [{ ...task, metrics: ['bleu', { name: 'bertscore', model: 'encoder' }] }] }),
      '/tasks/t.yaml',
    );
    expect(parsed?.metrics).toEqual(['bleu', { name: 'bertscore', model: '/tasks/encoder', idf: false }]);
    expect(parsed && metricNames(parsed)).toEqual(['bleu', 'bertscore_precision', 'bertscore_recall', 'bertscore_f1']);
    expect(() =>
      parseTasks(JSON.stringify({ tasks: [{ ...task, metrics: [{ name: 'bertscore' }] }] }), 't.yaml'),
    ).toThrow(/^t\.yaml:1:\d+: tasks\[0\]\.metrics\[0\]\.model is required/);
  });
});

const PACKAGE = '@huggingface/transformers';
const installed = ((): boolean => {
  try {
    return createRequire(import.meta.url).resolve(PACKAGE) !== '';
  } catch {
    return false;
  }
})();

describe.skipIf(installed)('without the package', () => {
  it('says which one is missing', async () => {
    await expect(openEncoder({ model: '/nowhere' })).rejects.toThrow(
      `metric bertscore needs the package ${PACKAGE}, which is not installed or does not load: npm install ${PACKAGE}`,
    );
  });
});

describe.skipIf(!installed)('an encoder in ONNX', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lowrank-encoder-'));
    await writeTinyEncoder(folder, WORDS);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('gives the hidden states of the layer that is asked for', async () => {
    const first = await openEncoder({ model: folder, num_layers: 1 });
    const { ids, vectors, dim } = await first.encode('a c');
    expect([ids, dim]).toEqual([[1, 3, 5, 2], 3]);
    expect([...vectors]).toEqual([0, 0, 2, 3, 0, 0, 0, 2, 0, 0, 0, 1]);
    const last = await (await openEncoder({ model: folder })).encode('a c');
    // The mean of the four is (0.75, 0.5, 0.75).
    expect([...last.vectors.slice(3, 6)]).toEqual([3.75, 0.5, 0.75]);
    expect(await (await openEncoder({ model: folder, num_layers: 2 })).encode('a c')).toEqual(last);
    const [score] = await bertScores(['a c'], [['b']], first);
    expect(score?.precision).toBeCloseTo(0.7, 6);
    expect(score?.recall).toBeCloseTo(0.8, 6);
  });

  it('is refused where it lacks the layer, or is not there', async () => {
    const missing = await openEncoder({ model: folder, num_layers: 7 });
    await expect(missing.encode('a')).rejects.toThrow(
      'no output hidden_states.7, but hidden_states.1, last_hidden_state',
    );
    await expect(openEncoder({ model: join(folder, 'nothing') })).rejects.toThrow(
      `metric bertscore: ${join(folder, 'nothing')}: `,
    );
  });
});
