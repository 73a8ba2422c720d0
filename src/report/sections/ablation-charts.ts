import { metricTitle, onShownScale } from '../../metric-scales.js';
import type { PlotBlock } from '../document.js';
import type { AblationInput } from '../inputs.js';
import type { Canvas } from '../plots/canvas.js';
import { lineChart } from '../plots/lines.js';
import { meanAndDeviation, rankChart, type RankChart } from '../plots/ranks.js';
import { scatterChart } from '../plots/scatter.js';
import { fileName } from './evaluation.js';
import { familiesOf, labelOf, settingsOf, type Run } from './runs.js';

type Measure = (run: Run) => number | null | undefined;
type Plots = (PlotBlock | undefined)[];

/** Validation loss and every metric against the rank, with the spread between seeds. */
export function scoreCharts(canvas: Canvas, runs: readonly Run[]): Plots {
  const metrics = [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))];
  return [
    againstRank(
      canvas,
      runs,
      { name: 'validation-loss-rank', title: 'Validation loss against rank', y: 'validation loss (nats a token)' },
      (run) => run.validation_loss,
    ),
    ...metrics.map((metric) =>
      againstRank(
        canvas,
        runs,
        { name: `metric-${fileName(metric)}-rank`, title: `${metric} against rank`, y: metricTitle(metric) },
        (run) => finite(run.metrics[metric]).map((value) => onShownScale(metric, value))[0],
      ),
    ),
  ];
}

export function memoryCharts(canvas: Canvas, runs: readonly Run[]): Plots {
  const mebibytes =
    (of: Measure): Measure =>
    (run) =>
      typeof of(run) === 'number' ? (of(run) as number) / 2 ** 20 : undefined;
  return [
    againstRank(
      canvas,
      runs,
      { name: 'memory-rank', title: 'Planned peak memory against rank', y: 'planned peak of a step (MiB)', zero: true },
      mebibytes((run) => run.peak_memory_bytes),
    ),
    againstRank(
      canvas,
      runs,
      { name: 'adapter-size-rank', title: 'Size of the adapter against rank', y: 'adapter (MiB)', zero: true },
      mebibytes((run) => run.adapter_bytes),
    ),
    againstRank(
      canvas,
      runs,
      { name: 'speed-rank', title: 'Speed against rank', y: 'tokens a second', zero: true },
      (run) => run.tokensPerSecond,
    ),
  ];
}

function againstRank(
  canvas: Canvas,
  runs: readonly Run[],
  naming: Pick<RankChart, 'name' | 'title' | 'y' | 'zero'>,
  measure: Measure,
): PlotBlock | undefined {
  const series = familiesOf(runs).map(({ name, runs: own }) => {
    const ranks = [...new Set(own.flatMap(({ rank }) => rank ?? []))];
    return {
      name,
      samples: ranks.map((at) => ({
        at,
        values: own.filter(({ rank }) => rank === at).flatMap((run) => finite(measure(run))),
      })),
    };
  });
  const words = series.map(
    ({ name, samples }) =>
      `${series.length > 1 ? `${name}: ` : ''}${samples
        .filter(({ values }) => values.length > 0)
        .map(({ at, values }) => `${Number(meanAndDeviation(values).mean.toPrecision(4))} at rank ${at}`)
        .join(', ')}`,
  );
  return rankChart(canvas, {
    ...naming,
    description: `Means over seeds, bars of one standard deviation. ${words.join('; ')}.`,
    series,
  });
}

/**
 * What was forgotten against what was won: the change of each metric that is not retained against the base model, or
 * the validation loss where there is no such metric. Retained metrics have units of their own, so that each is measured
 * by what it was before, where that is known.
 */
export function tradeCharts(canvas: Canvas, runs: readonly Run[], { baselines }: AblationInput): Plots {
  // Where bases are held in several ways each run should be compared with its own, and nothing says which that is.
  const [base, ...others] = Object.values(baselines);
  const retained = [...new Set(runs.flatMap((run) => Object.keys(run.forgetting)))];
  const gained = others.length > 0 ? [] : Object.keys(base ?? {}).filter((metric) => !retained.includes(metric));
  const measures: readonly (readonly [axis: string, gain: string, Measure])[] =
    gained.length === 0
      ? [['validation loss (lower is better)', 'validation loss', (run) => run.validation_loss]]
      : gained.map(
          (metric) =>
            [
              `change of ${metricTitle(metric)} against the base`,
              `gain in ${metric}`,
              (run) =>
                finite(difference(run.metrics[metric], base?.[metric])).map((change) =>
                  onShownScale(metric, change),
                )[0],
            ] as const,
        );
  const shares =
    others.length === 0 && retained.every((metric) => finite(base?.[metric]).some((before) => before !== 0));
  const losses: readonly Losses[] = shares
    ? [
        {
          metrics: retained,
          y: 'forgetting (% of the value before)',
          of: (run, metric) =>
            finite(run.forgetting[metric]).map((lost) => lost * (100 / Math.abs(base?.[metric] ?? 1))),
        },
      ]
    : retained.map((metric) => ({
        metrics: [metric],
        y: `forgetting of ${metricTitle(metric)}`,
        of: (run) => finite(run.forgetting[metric]).map((lost) => onShownScale(metric, lost)),
      }));
  return measures.flatMap((measure) =>
    losses.map((lost) =>
      tradeChart(
        canvas,
        runs,
        measure,
        lost,
        losses.length > 1 ? `-${fileName(lost.metrics.join(' '))}` : '',
        gained.length > 0,
      ),
    ),
  );
}

/** What was forgotten in some metrics, in one unit. */
interface Losses {
  readonly metrics: readonly string[];
  /** Title of the axis. */
  readonly y: string;
  readonly of: (run: Run, metric: string) => number[];
}

function tradeChart(
  canvas: Canvas,
  runs: readonly Run[],
  [x, gain, measure]: readonly [string, string, Measure],
  { metrics, y, of }: Losses,
  suffix: string,
  zeroX: boolean,
): PlotBlock | undefined {
  const families = familiesOf(runs);
  const series = families.flatMap((family) =>
    metrics.map((metric) => ({
      name: [
        ...(families.length > 1 || metrics.length === 1 ? [family.name] : []),
        ...(metrics.length > 1 ? [metric] : []),
      ].join(': '),
      points: settingsOf(family.runs).flatMap(({ runs: own }) => {
        const points = own.flatMap((run) =>
          finite(measure(run)).flatMap((won) => of(run, metric).map((lost) => [won, lost] as const)),
        );
        if (points.length === 0) return [];
        const [won, lost] = [
          meanAndDeviation(points.map(([value]) => value)).mean,
          meanAndDeviation(points.map(([, value]) => value)).mean,
        ];
        const { rank } = own[0] as Run;
        return [{ x: won, y: lost, label: rank === undefined ? labelOf(own[0] as Run) : `r=${rank}` }];
      }),
    })),
  );
  const words = series
    .map(
      (s) =>
        `${series.length > 1 ? `${s.name}: ` : ''}${s.points.map((p) => `${p.label}: ${Number(p.x.toPrecision(4))}, ${Number(p.y.toPrecision(3))}`).join('; ')}`,
    )
    .join('. ');
  const description = `Each setting, means over seeds: ${x}, then ${y}. ${words}.`;
  return scatterChart(canvas, {
    name: `forgetting-${fileName(gain.replace('gain in ', ''))}${suffix}`,
    title: `Forgetting${suffix === '' ? '' : ` of ${metrics.join(', ')}`} against ${gain}`,
    description,
    x,
    y,
    zeroX,
    series,
  });
}

/** Losses, learning rates and gradient norms of all runs, a line a run, a colour a setting. */
export function courseCharts(canvas: Canvas, runs: readonly Run[]): Plots {
  type Step = Run['losses'][number];
  const series = (
    of: (run: Run) => readonly (readonly [number, number])[],
  ): { name: string; lines: (readonly (readonly [number, number])[])[] }[] =>
    settingsOf(runs).map(({ name, runs: own }) => ({ name, lines: own.map(of) }));
  const column = (name: Exclude<keyof Step, 'step'>): ReturnType<typeof series> =>
    series((run) => run.losses.map((line) => [line.step, line[name]] as const));
  const description = (what: string): string =>
    `${what} of ${runs.length} runs over the steps; report.json has every number.`;
  return [
    lineChart(canvas, {
      name: 'training-losses',
      title: 'Training loss',
      description: description('Training loss'),
      x: 'step',
      y: 'loss (nats a token)',
      series: column('loss'),
    }),
    lineChart(canvas, {
      name: 'validation-losses',
      title: 'Validation loss',
      description: description('Validation loss'),
      x: 'step',
      y: 'loss (nats a token)',
      series: series((run) => run.validation.map(({ step, eval_loss: loss }) => [step, loss] as const)).map((s) => ({
        ...s,
        marked: true,
      })),
    }),
    lineChart(canvas, {
      name: 'learning-rates',
      title: 'Learning rate',
      description: description('Learning rate'),
      x: 'step',
      y: 'learning rate',
      zero: true,
      series: oneWhereSame(column('learning_rate')),
    }),
    lineChart(canvas, {
      name: 'gradient-norms',
      title: 'Gradient norm',
      description: description('Gradient norm before clipping'),
      x: 'step',
      y: 'global norm before clipping',
      zero: true,
      series: column('grad_norm'),
    }),
  ];
}

/** Runs of one schedule would lie on top of each other. */
function oneWhereSame<T extends { readonly lines: readonly unknown[] }>(
  series: readonly T[],
): (T | { name: string; lines: T['lines'] })[] {
  const [first, ...rest] = series.flatMap(({ lines }) => lines);
  const text = JSON.stringify(first);
  return first !== undefined && rest.every((line) => JSON.stringify(line) === text)
    ? [{ name: 'all runs', lines: [first] as T['lines'] }]
    : [...series];
}

function finite(value: number | null | undefined): number[] {
  return typeof value === 'number' && Number.isFinite(value) ? [value] : [];
}

function difference(value: number | null | undefined, base: number | null | undefined): number | undefined {
  return typeof value === 'number' && typeof base === 'number' ? value - base : undefined;
}
