import { describe, expect, it } from 'vitest';
import { forgettingOf } from '../../src/ablation/evaluation.js';
import { parseBaseline, parseResult } from '../../src/ablation/result.js';
import { resultOf } from '../support/ablation.js';

describe('the result of a run', () => {
  it('has NaN where JSON has null, as for a metric of no answers', () => {
    const result = resultOf(
      { r: 1 },
      {
        metrics: { 'task/pearson': NaN, 'task/rougeL': 0.5 },
        train_loss: NaN,
        losses: [{ step: 1, loss: 2, learning_rate: 0.1, grad_norm: NaN }],
      },
    );
    expect(parseResult(JSON.stringify(result), 'result.json')).toEqual(result);
    const baseline = { metrics: { 'task/pearson': NaN }, evaluation: 'hash', seconds: 1 };
    expect(parseBaseline(JSON.stringify(baseline), 'base.json')).toEqual(baseline);
  });

  it('is refused where it is none', () => {
    expect(() => parseResult(JSON.stringify({ ...resultOf({ r: 1 }), metrics: { a: 'b' } }), 'result.json')).toThrow(
      'result.json: not the result of a run: metrics.a: ',
    );
    expect(() => parseBaseline('{}', 'base.json')).toThrow('base.json: not the metrics of a base model: metrics: ');
  });

  it('tells forgetting only where before and after are numbers', () => {
    const retained = new Map([
      ['loss', true],
      ['accuracy', false],
      ['pearson', false],
    ]);
    expect(
      forgettingOf({ loss: 2, accuracy: 0.5, pearson: 0.5 }, { loss: 1.5, accuracy: 0.75, pearson: NaN }, retained),
    ).toEqual({ loss: 0.5, accuracy: 0.25 });
    expect(forgettingOf({ loss: NaN, accuracy: 0.5 }, { loss: 1 }, retained)).toEqual({});
  });
});
