import { describe, expect, it } from 'vitest';
import { BERTSCORE_PARTS } from '../src/eval/metrics/bertscore.js';
import { TEXT_METRICS, type TextMetricName } from '../src/eval/tasks/metrics.js';
import { lowerIsBetter, METRIC_SCALES, metricTitle, onShownScale, scaleOf } from '../src/metric-scales.js';

const TEXT = Object.keys(TEXT_METRICS) as TextMetricName[];

describe('the scales of metrics', () => {
  it('have an entry for every metric of a task, and none for others', () => {
    const others = [
      'accuracy',
      'accuracy_norm',
      'mc1',
      'mc2',
      'calibration_error',
      'loss',
      'perplexity',
      'bits_per_byte',
    ];
    const all = [...TEXT, ...BERTSCORE_PARTS, ...others, 'retain_loss'];
    expect(Object.keys(METRIC_SCALES).sort()).toEqual([...new Set(all)].sort());
  });

  it('are those of the values: the best value is shown as 100 % or, where lower is better, as 0', () => {
    const texts = ['one two three four five', 'six seven eight nine ten'];
    const references = texts.map((text) => [text]);
    for (const name of TEXT.filter((each) => scaleOf(each).unit !== 'own' && each !== 'meteor')) {
      const numbers = name === 'number_match';
      const [answers, wanted] = numbers
        ? [
            ['1', '2'],
            [['1'], ['2']],
          ]
        : [texts, references];
      const value = TEXT_METRICS[name].scorer(answers, wanted)([0, 1]);
      expect(onShownScale(name, value), name).toBeCloseTo(lowerIsBetter(name) ? 0 : 100, 6);
    }
    // METEOR punishes the one chunk of a perfect match, by its definition.
    const meteor = onShownScale('meteor', TEXT_METRICS.meteor.scorer(texts, references)([0, 1]));
    expect(meteor).toBeGreaterThan(99);
    expect(meteor).toBeLessThanOrEqual(100);
  });

  it('are found behind the name of a task, and by the label of a class', () => {
    expect(metricTitle('sums/rougeL')).toBe('sums/rougeL (%)');
    expect(metricTitle('f1_yes/no')).toBe('f1_yes/no (%)');
    expect(metricTitle('ter')).toBe('ter (%) ↓');
    expect(metricTitle('e2e_nist')).toBe('e2e_nist');
    expect(metricTitle('toString')).toBe('toString');
    expect([onShownScale('a/exact_match', 0.25), onShownScale('bleu', 25), onShownScale('loss', 0.25)]).toEqual([
      25, 25, 0.25,
    ]);
  });
});
