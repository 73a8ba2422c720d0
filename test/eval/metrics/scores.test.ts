import { describe, expect, it } from 'vitest';
import { classF1, macroF1 } from '../../../src/eval/metrics/classes.js';
import {
  accuracy,
  exactMatch,
  leadingLabel,
  mean,
  normalizeAnswer,
  tokenF1,
} from '../../../src/eval/metrics/scores.js';
import { metricNames, parseTasks, type GenerateTask } from '../../../src/eval/tasks/schema.js';
import { checkTextMetrics, textScorers } from '../../../src/eval/tasks/text-scores.js';

describe('answers', () => {
  it('normalises case, punctuation, articles and space', () => {
    expect(normalizeAnswer('  The "Cat",\n an apple; a-b ')).toBe('cat apple ab');
    expect(normalizeAnswer('Theo and another')).toBe('theo and another');
  });

  it('matches exactly after that, any accepted answer', () => {
    expect(exactMatch('The park.', 'park')).toBe(true);
    expect(exactMatch('a red park', ['park', 'Red Park'])).toBe(true);
    expect(exactMatch('parks', 'park')).toBe(false);
  });

  it('shares words in F1, each once', () => {
    expect(tokenF1('the red red ball', 'a red ball')).toBeCloseTo((2 * (2 / 3) * 1) / (2 / 3 + 1), 12);
    expect(tokenF1('blue', ['red', 'blue sky'])).toBeCloseTo(2 / 3, 12);
    expect(tokenF1('', 'red')).toBe(0);
    expect(tokenF1('the', 'a')).toBe(1);
    expect(tokenF1('red', [])).toBe(0);
  });
});

describe('classes', () => {
  it('reads the label a completion begins with', () => {
    const labels = ['positive', 'negative'];
    expect(leadingLabel(' Positive.\nReview', labels)).toBe('positive');
    expect(leadingLabel('negative', labels)).toBe('negative');
    expect(leadingLabel('positively so', labels)).toBeUndefined();
    expect(leadingLabel('not positive', labels)).toBeUndefined();
  });

  it('reads the longest label that fits', () => {
    expect(leadingLabel('not entailment', ['not', 'not entailment'])).toBe('not entailment');
    expect(leadingLabel('Not entailments', ['not', 'not entailment'])).toBe('not');
  });

  it('have an F1 each, and a mean of them', () => {
    //            TP   FN   FP   TN   TN
    const labels = ['a', 'a', 'b', 'b', 'c'];
    const found = ['a', 'b', 'a', 'b', 'b'];
    expect(classF1(found, labels, 'a')).toBeCloseTo((2 * 1) / (2 * 1 + 1 + 1), 12);
    // One of three found, one of two missed: precision 1/3, recall 1/2.
    expect(classF1(found, labels, 'b')).toBeCloseTo((2 * (1 / 3) * (1 / 2)) / (1 / 3 + 1 / 2), 12);
    expect(classF1(found, labels, 'c')).toBe(0);
    expect(classF1(found, labels, 'd')).toBe(0);
    expect(macroF1(found, labels)).toBeCloseTo((1 / 2 + 2 / 5 + 0) / 3, 12);
    // An answer of no class misses one, and is no fourth class.
    expect(macroF1(['a', undefined, 'c'], ['a', 'a', 'c'])).toBeCloseTo((2 / 3 + 1) / 2, 12);
    expect(macroF1([], [])).toBeNaN();
    expect(() => classF1(['a'], [], 'a')).toThrow('1 predictions for 0 labels');
  });

  it('have their metrics in tasks', async () => {
    const [task] = parseTasks(
      'tasks: [{name: t, type: generate, data: x, prompt: p, references: a, metrics: [macro_f1, {name: f1, label: entailment}, {name: f1, label: not entailment}]}]',
      't.yaml',
    ) as [GenerateTask];
    const answers = ['Entailment.', 'not entailment', 'maybe', 'entailment'];
    const references = [['entailment'], ['not entailment'], ['not entailment'], ['not entailment']];
    const scorers = await textScorers(task, answers, references);
    const values = Object.fromEntries(Object.entries(scorers).map(([name, scorer]) => [name, scorer([0, 1, 2, 3])]));
    // entailment: TP 1, FP 1; not entailment: TP 1, FN 2.
    expect(values).toEqual({
      macro_f1: expect.closeTo((2 / 3 + 1 / 2) / 2, 12) as number,
      f1_entailment: expect.closeTo(2 / 3, 12) as number,
      'f1_not entailment': expect.closeTo(1 / 2, 12) as number,
    });
    expect(metricNames(task)).toEqual(Object.keys(values));
    await expect(checkTextMetrics(task, [['not entailment']])).rejects.toThrow(
      't: metric f1: no item has the label "entailment"',
    );
    await expect(checkTextMetrics(task, references)).resolves.toBeUndefined();
  });

  it('counts agreement', () => {
    expect(accuracy(['a', 'b', 'c', 'd'], ['a', 'b', 'x', 'd'])).toBe(0.75);
    expect(accuracy(['The cat'], ['cat'], exactMatch)).toBe(1);
    expect(accuracy([], [])).toBeNaN();
    expect(mean([1, 2, 6])).toBe(3);
    expect(() => accuracy(['a'], [])).toThrow(/1 predictions/);
  });
});
