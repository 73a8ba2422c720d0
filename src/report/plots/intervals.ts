import type { PlotBlock } from '../document.js';
import { draw, textWidth, type Canvas, type Naming } from './canvas.js';
import { numberTicks } from './lines.js';
import { seriesStyle } from './theme.js';

export interface IntervalRow {
  readonly row: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface IntervalChart extends Naming {
  readonly x: string;
  readonly series: readonly { readonly name: string; readonly rows: readonly IntervalRow[] }[];
}

const PER_SERIES = 20;

/** Values with their intervals, a line a row, the series under each other. */
export function intervalChart(canvas: Canvas, { x, series, ...naming }: IntervalChart): PlotBlock | undefined {
  const { Plot } = canvas;
  const all = series.flatMap(({ rows }) => rows);
  if (all.length === 0) return undefined;
  const names = [...new Set(all.map(({ row }) => row))];
  const bounds = all.flatMap(({ low, high, value }) => [low, high, value]).filter(Number.isFinite);
  const marks = series.flatMap(({ name, rows }, i) => {
    const { color, symbol } = seriesStyle(i);
    const dy = (i - (series.length - 1) / 2) * PER_SERIES * 0.75;
    const spread = rows.filter(({ low, high }) => high > low);
    const ends = { y: 'row', stroke: color, strokeWidth: 2, dy } as const;
    return [
      Plot.ruleY(spread, { ...ends, x1: 'low', x2: 'high' }),
      Plot.dot(rows, {
        x: 'value',
        y: 'row',
        fill: color,
        symbol,
        r: 5,
        dy,
        title: (r: IntervalRow) => `${name}, ${r.row}: ${shown(r.value)} [${shown(r.low)}, ${shown(r.high)}]`,
      }),
    ];
  });
  return draw(
    canvas,
    naming,
    {
      marginLeft: Math.min(260, Math.max(64, 16 + Math.max(...names.map(textWidth)))),
      height: 80 + names.length * (PER_SERIES * series.length + 12),
      x: {
        label: x,
        labelAnchor: 'center',
        labelArrow: 'none',
        labelOffset: 38,
        grid: true,
        nice: true,
        ticks: 7,
        tickFormat: numberTicks(bounds),
      },
      y: { type: 'band', domain: names, label: null, tickSize: 0 },
      marks,
    },
    series.map(({ name }, i) => ({ name, style: seriesStyle(i), line: false, symbol: true })),
  );
}

function shown(value: number): number {
  return Number(value.toPrecision(4));
}
