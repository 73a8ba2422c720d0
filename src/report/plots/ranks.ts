import type { PlotBlock } from '../document.js';
import { draw, type Canvas, type Naming } from './canvas.js';
import { numberTicks } from './lines.js';
import { seriesStyle } from './theme.js';

/** What several runs came to at one place. */
export interface Sample {
  readonly at: number;
  readonly values: readonly number[];
}

export interface RankChart extends Naming {
  readonly y: string;
  readonly zero?: boolean;
  readonly series: readonly { readonly name: string; readonly samples: readonly Sample[] }[];
}

interface Drawn {
  readonly at: number;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly title: string;
}

/**
 * Means against the rank, every rank as far from the next; bars reach one standard deviation of the runs up and down.
 */
export function rankChart(canvas: Canvas, { y, zero = false, series, ...naming }: RankChart): PlotBlock | undefined {
  const { Plot } = canvas;
  const usable = series
    .map(({ name, samples }) => ({
      name,
      data: samples
        .filter(({ values }) => values.length > 0)
        .map((sample) => drawn(name, sample))
        .sort((a, b) => a.at - b.at),
    }))
    .filter(({ data }) => data.length > 0);
  const all = usable.flatMap(({ data }) => data);
  if (all.length === 0) return undefined;
  const ranks = [...new Set(all.map(({ at }) => at))].sort((a, b) => a - b);
  // Bars of several series at one rank stand side by side.
  const marks = usable.flatMap(({ data }, i) => {
    const { color, dash, symbol } = seriesStyle(i);
    const dx = (i - (usable.length - 1) / 2) * Math.min(9, 40 / usable.length);
    const spread = data.filter(({ low, high }) => high > low);
    const bar = { x: 'at', stroke: color, strokeWidth: 1.5, dx } as const;
    return [
      Plot.line(data, {
        x: 'at',
        y: 'mean',
        stroke: color,
        strokeWidth: 1.5,
        strokeDasharray: dash,
        strokeOpacity: 0.6,
        dx,
      }),
      Plot.ruleX(spread, { ...bar, y1: 'low', y2: 'high' }),
      Plot.tickY(spread, { ...bar, y: 'low', insetLeft: TICK(ranks.length), insetRight: TICK(ranks.length) }),
      Plot.tickY(spread, { ...bar, y: 'high', insetLeft: TICK(ranks.length), insetRight: TICK(ranks.length) }),
      Plot.dot(data, { x: 'at', y: 'mean', fill: color, symbol, r: 4.5, dx, title: 'title' }),
    ];
  });
  return draw(
    canvas,
    naming,
    {
      marginLeft: 64,
      x: {
        type: 'band',
        domain: ranks,
        label: 'rank',
        labelAnchor: 'center',
        labelArrow: 'none',
        labelOffset: 38,
        padding: 0,
      },
      y: {
        label: y,
        labelArrow: 'none',
        grid: true,
        nice: true,
        zero,
        ticks: 6,
        tickFormat: numberTicks(all.map(({ high }) => high)),
      },
      marks,
    },
    usable.map(({ name }, i) => ({ name, style: seriesStyle(i), line: true, symbol: true })),
  );
}

/** What leaves twelve pixels of a band for the end of a bar. */
const TICK = (bands: number): number => (720 - 64 - 24) / bands / 2 - 6;

function drawn(name: string, { at, values }: Sample): Drawn {
  const { mean, sd } = meanAndDeviation(values);
  const runs = values.length === 1 ? '' : ` ± ${Number(sd.toPrecision(2))} (${values.length} runs)`;
  return {
    at,
    mean,
    low: mean - sd,
    high: mean + sd,
    title: `${name}, rank ${at}: ${Number(mean.toPrecision(5))}${runs}`,
  };
}

/** Mean, and the deviation of the sample (over n − 1), 0 of a single value. */
export function meanAndDeviation(values: readonly number[]): { mean: number; sd: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, sd: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 };
}
