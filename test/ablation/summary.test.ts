import { describe, expect, it } from 'vitest';
import { familiesOf } from '../../src/ablation/families.js';
import type { Baseline, RunResult } from '../../src/ablation/result.js';
import { describeRecommendations, summarise } from '../../src/ablation/summary.js';
import { renderCsv, renderMarkdown, tableOf } from '../../src/ablation/table.js';
import { resultOf } from '../support/ablation.js';

const finished = (...results: RunResult[]): { result: RunResult; timings: undefined }[] =>
  results.map((result) => ({ result, timings: undefined }));
const baseline = (metrics: Record<string, number>): Baseline => ({ metrics, evaluation: 'hash', seconds: 1 });

describe('families of runs', () => {
  it.each([
    [
      '2r',
      [
        [4, 8],
        [8, 16],
      ],
    ],
    [
      'r',
      [
        [4, 4],
        [16, 16],
      ],
    ],
    [
      '8sqrt',
      [
        [4, 16],
        [16, 32],
      ],
    ],
  ])('are one where alpha is written as a number that follows the rank: %s', (alpha, pairs) => {
    const runs = pairs.map(([r, lora_alpha]) => resultOf({ r, lora_alpha, use_dora: true }));
    expect(familiesOf(runs)).toEqual(pairs.map(() => ({ use_dora: true, lora_alpha: alpha })));
  });

  it('have the alpha of their own where it follows in other ways, or not at all', () => {
    const grid = [
      [4, 8],
      [4, 16],
      [8, 8],
      [8, 16],
    ].map(([r, lora_alpha]) => resultOf({ r, lora_alpha }));
    expect(familiesOf(grid).map(({ lora_alpha: alpha }) => alpha)).toEqual([8, 16, 8, 16]);
    const one = [
      [4, 8],
      [4, 16],
    ].map(([r, lora_alpha]) => resultOf({ r, lora_alpha }));
    expect(familiesOf(one).map(({ lora_alpha: alpha }) => alpha)).toEqual([8, 16]);
    const written = [4, 8].map((r) => resultOf({ r, lora_alpha: '2r' }, { alpha: 2 * r }));
    expect(familiesOf(written)).toEqual([{ lora_alpha: '2r' }, { lora_alpha: '2r' }]);
  });

  it('get a recommendation together, in whatever order their settings are written', () => {
    const runs = finished(
      resultOf({ r: 4, lora_alpha: 8, use_dora: true }, { validation_loss: 1.1 }),
      resultOf({ use_dora: true, lora_alpha: 16, r: 8 }, { validation_loss: 1 }),
      resultOf({ lora_alpha: 16, use_dora: true, r: 8 }, { validation_loss: 0.9, seed: 2 }),
    );
    const summary = summarise(runs);
    expect(summary.rows.map(({ rank, seeds }) => [rank, seeds])).toEqual([
      [4, [1]],
      [8, [1, 2]],
    ]);
    expect(summary.recommendations).toMatchObject([{ settings: { use_dora: true, lora_alpha: '2r' }, best: 8 }]);
    expect(describeRecommendations(summary)[0]).toMatch(/^With lora_alpha=2r, use_dora=true: Rank 8: /);
  });
});

describe('the table of an ablation', () => {
  const runs = finished(
    resultOf({ r: 1 }, { validation_loss: 2, metrics: { 'task/pearson': NaN, loss: 1.5 }, forgetting: { loss: 0.5 } }),
    resultOf(
      { r: 1 },
      { validation_loss: 1, seed: 2, metrics: { 'task/pearson': 0.5, loss: 2 }, forgetting: { loss: 1 } },
    ),
    resultOf({ r: 2 }, { validation_loss: 1.25, metrics: { 'task/pearson': NaN, loss: 1.75 }, forgetting: {} }),
  );

  it('leaves numbers out that are none, and says of how many seeds a mean is', () => {
    const { header, rows } = tableOf(summarise(runs));
    expect(header).toEqual([
      'rank',
      'seeds',
      'validation loss',
      'task/pearson',
      'loss ↓',
      'trainable',
      'adapter bytes',
      'planned peak (MiB)',
      'forgetting',
      'tokens/s',
    ]);
    expect(rows[0]).toEqual([
      '1',
      '2',
      '1.5000 ± 0.7071',
      '0.5000 (1 of 2)',
      '1.7500 ± 0.3536',
      '1 000',
      '4 000',
      '–',
      '0.7500 ± 0.3536',
      '–',
    ]);
    expect(rows[1]).toEqual(['2', '1', '1.2500', '–', '1.7500', '1 000', '4 000', '–', '–', '–']);
    expect(renderCsv(summarise(runs))).not.toContain('NaN');
  });

  it('begins with what was measured of the base models', () => {
    const one = summarise(runs, { 'nf4-1234abcd': baseline({ 'task/pearson': NaN, loss: 1 }) });
    expect(tableOf(one).rows[0]).toEqual(['base', '–', '–', '–', '1.0000', '–', '–', '–', '–', '–']);
    expect(tableOf(one).rows).toHaveLength(3);
    const [header = '', base = ''] = renderCsv(one).split('\n');
    const cells = Object.fromEntries(header.split(',').map((name, i) => [name, base.split(',')[i]]));
    expect(cells).toMatchObject({
      rank: 'base',
      seeds: '',
      loss: '1',
      'loss sd': '',
      'task/pearson': '',
      planned_peak_bytes: '',
    });
    const two = summarise(runs, { 'nf4-1234abcd': baseline({ loss: 1.25 }), 'float-1234abcd': baseline({ loss: 1 }) });
    expect(renderMarkdown(two)).toMatch(/\n\| base float \|.*\| 1\.0000 \|.*\n\| base nf4 \|.*\| 1\.2500 \|/);
    const alike = summarise(runs, {
      'nf4-1': baseline({ loss: 1 }),
      'nf4-2': baseline({ loss: 1 }),
      'float-3': baseline({ loss: 1 }),
      'float-4': baseline({}),
    });
    expect(alike.bases.map(({ name }) => name)).toEqual(['base float', 'base nf4-1', 'base nf4-2']);
  });

  it('recommends from losses that are numbers', () => {
    const losses = finished(
      resultOf({ r: 1 }, { validation_loss: NaN }),
      resultOf({ r: 2 }, { validation_loss: 1 }),
      resultOf({ r: 4 }, { validation_loss: 2 }),
    );
    expect(summarise(losses).recommendations).toMatchObject([{ rank: 2, best: 2 }]);
    expect(describeRecommendations(summarise(losses.slice(0, 2)))).toEqual([
      'The lowest mean validation loss, 1.0000, has r=2.',
    ]);
  });
});
