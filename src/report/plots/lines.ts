import type { PlotBlock } from '../document.js';
import { draw, type Canvas, type Naming } from './canvas.js';
import { seriesStyle } from './theme.js';

export type Point = readonly [x: number, y: number];

export interface Series {
  readonly name: string;
  /** Several where a line was drawn several times, as of several seeds. */
  readonly lines: readonly (readonly Point[])[];
  /** Points are marked; else only where there is but one. */
  readonly marked?: boolean;
}

export interface LineChart extends Naming {
  readonly x: string;
  readonly y: string;
  readonly log?: boolean;
  /** The axis of values begins at zero. */
  readonly zero?: boolean;
  readonly series: readonly Series[];
}

interface Drawn {
  readonly x: number;
  readonly y: number;
  readonly title: string;
}

/** More points than pixels only make a file large. */
const MOST_POINTS = 1500;

/** Lines of numbers over numbers; undefined where there is nothing to draw. */
export function lineChart(
  canvas: Canvas,
  { x, y, log = false, zero = false, series, ...naming }: LineChart,
): PlotBlock | undefined {
  const { Plot } = canvas;
  const usable = series
    .map((s) => ({
      ...s,
      lines: s.lines
        .map((line) => thinned(line.filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b) && (!log || b > 0))))
        .filter((line) => line.length > 0),
    }))
    .filter((s) => s.lines.length > 0);
  if (usable.length === 0) return undefined;
  const marks = usable.flatMap(({ name, lines, marked = false }, i) => {
    const { color, dash, symbol } = seriesStyle(i);
    return lines.flatMap((line) => {
      const data = line.map(([a, b]): Drawn => ({
        x: a,
        y: b,
        title: `${name}, ${x} ${a}: ${Number(b.toPrecision(5))}`,
      }));
      const at = { x: 'x', y: 'y' } as const;
      return [
        Plot.line(data, {
          ...at,
          stroke: color,
          strokeWidth: 1.8,
          strokeDasharray: dash,
          strokeOpacity: lines.length > 1 ? 0.7 : 1,
        }),
        ...(marked || data.length === 1
          ? [Plot.dot(data, { ...at, fill: color, symbol, r: 3.5, title: 'title' })]
          : []),
      ];
    });
  });
  const values = usable.flatMap((s) => s.lines.flat().map(([, b]) => b));
  return draw(
    canvas,
    naming,
    {
      marginLeft: 64,
      grid: true,
      x: {
        label: x,
        labelAnchor: 'center',
        labelArrow: 'none',
        labelOffset: 38,
        ...wholeTicks(usable.flatMap((s) => s.lines.flat().map(([a]) => a))),
      },
      y: {
        label: y,
        labelArrow: 'none',
        nice: true,
        ...(log ? { type: 'log' as const, ...logTicks(values) } : { ticks: 6, tickFormat: numberTicks(values) }),
        ...(zero && !log ? { zero: true } : {}),
      },
      marks,
    },
    usable.map(({ name, marked = false, lines }, i) => ({
      name,
      style: seriesStyle(i),
      line: true,
      symbol: marked || lines.every((line) => line.length === 1),
    })),
  );
}

/** The points of a line at even distances, with both ends. */
function thinned(line: readonly Point[]): readonly Point[] {
  if (line.length <= MOST_POINTS) return line;
  return Array.from(
    { length: MOST_POINTS },
    (_, i) => line[Math.round((i * (line.length - 1)) / (MOST_POINTS - 1))] as Point,
  );
}

/** Steps and indices have no halves. */
function wholeTicks(values: readonly number[]): {
  ticks?: number;
  tickFormat?: (value: number) => string;
  domain?: [number, number];
} {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (!values.every(Number.isInteger)) return {};
  const domain: [number, number] = low === high ? [low - 1, high + 1] : [low, high];
  return {
    domain,
    ticks: Math.max(1, Math.min(10, domain[1] - domain[0])),
    tickFormat: (value) => (Number.isInteger(value) ? value.toLocaleString('en') : ''),
  };
}

/** Numbers of an axis: exponents where decimals would be many. */
export function numberTicks(values: readonly number[]): (value: number) => string {
  const most = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  if (most !== 0 && (most < 1e-2 || most >= 1e6))
    return (value) => (value === 0 ? '0' : `${Number(value.toPrecision(3)).toExponential()}`);
  return (value) => value.toLocaleString('en', { maximumSignificantDigits: 6 });
}

/**
 * Of a logarithmic axis every power of ten, or 1, 2 and 5 times it where there are few, or evenly spread numbers within
 * one.
 */
function logTicks(values: readonly number[]): { ticks: number[] | number; tickFormat: (value: number) => string } {
  const [low, high] = [Math.log10(Math.min(...values)), Math.log10(Math.max(...values))];
  const tickFormat = (value: number): string =>
    Math.abs(value) < 1e-3 ? Number(value.toPrecision(2)).toExponential() : String(Number(value.toPrecision(3)));
  if (high - low < 1) return { ticks: 5, tickFormat };
  const heads = high - low > 2.5 ? [1] : [1, 2, 5];
  const decades = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, i) => Math.floor(low) + i);
  return { ticks: decades.flatMap((decade) => heads.map((head) => head * 10 ** decade)), tickFormat };
}
