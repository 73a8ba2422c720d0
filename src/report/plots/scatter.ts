import type { PlotBlock } from '../document.js';
import { draw, textWidth, WIDTH, type Canvas, type Naming } from './canvas.js';
import { numberTicks } from './lines.js';
import { seriesStyle } from './theme.js';

export interface ScatterPoint {
  readonly x: number;
  readonly y: number;
  readonly label: string;
}

export interface ScatterChart extends Naming {
  readonly x: string;
  readonly y: string;
  /** The horizontal axis shows zero; unless false. */
  readonly zeroX?: boolean;
  readonly series: readonly { readonly name: string; readonly points: readonly ScatterPoint[] }[];
}

const HEIGHT = 360;
const [LEFT, RIGHT] = [64, 24];

/** Points with their names, and lines where either axis is zero. */
export function scatterChart(
  canvas: Canvas,
  { x, y, zeroX = true, series, ...naming }: ScatterChart,
): PlotBlock | undefined {
  const { Plot } = canvas;
  const usable = series.filter(({ points }) => points.length > 0);
  const all = usable.flatMap(({ points }) => points);
  if (all.length === 0) return undefined;
  const [xs, ys] = [all.map((p) => p.x), all.map((p) => p.y)];
  const labels = placeLabels(all, spanOf(xs, zeroX), spanOf(ys));
  return draw(
    canvas,
    naming,
    {
      marginLeft: LEFT,
      marginRight: RIGHT,
      height: HEIGHT,
      grid: true,
      x: {
        label: x,
        labelAnchor: 'center',
        labelArrow: 'none',
        labelOffset: 38,
        domain: spanOf(xs, zeroX),
        ticks: 7,
        tickFormat: numberTicks(xs),
      },
      y: { label: y, labelArrow: 'none', domain: spanOf(ys), ticks: 6, tickFormat: numberTicks(ys) },
      marks: [
        ...(zeroX ? [Plot.ruleX([0], { strokeOpacity: 0.5 })] : []),
        Plot.ruleY([0], { strokeOpacity: 0.5 }),
        ...usable.map(({ points }, i) => {
          const { color, symbol } = seriesStyle(i);
          return Plot.dot(points, {
            x: 'x',
            y: 'y',
            fill: color,
            symbol,
            r: 5,
            title: (p: ScatterPoint) =>
              `${p.label}: ${x} ${Number(p.x.toPrecision(4))}, ${y} ${Number(p.y.toPrecision(4))}`,
          });
        }),
        ...labels.map(({ point, dx, dy, anchor }) =>
          Plot.text([point], {
            x: 'x',
            y: 'y',
            text: 'label',
            dx,
            dy,
            textAnchor: anchor,
            fill: 'currentColor',
            stroke: 'var(--plot-background)',
            strokeWidth: 4,
          }),
        ),
      ],
    },
    usable.map(({ name }, i) => ({ name, style: seriesStyle(i), line: false, symbol: true })),
  );
}

/** From the least to the most, with zero unless told otherwise, and some air around. */
function spanOf(values: readonly number[], zero = true): [number, number] {
  const all = zero ? [0, ...values] : values;
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const air = (high - low) * 0.08 || 1;
  return [low - air, high + air];
}

interface Label {
  readonly point: ScatterPoint;
  readonly dx: number;
  readonly dy: number;
  readonly anchor: 'start' | 'end';
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/**
 * Each label in the first place beside its point where no other text or point is; none where all are taken (the title
 * still tells).
 */
function placeLabels(points: readonly ScatterPoint[], [x0, x1]: [number, number], [y0, y1]: [number, number]): Label[] {
  const place = (p: ScatterPoint): { x: number; y: number } => ({
    x: LEFT + ((p.x - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT),
    y: (1 - (p.y - y0) / (y1 - y0)) * (HEIGHT - 72),
  });
  const taken: Box[] = points.map((p) => around(place(p), 5));
  return points.flatMap((point) => {
    const { x, y } = place(point);
    const width = textWidth(point.label);
    for (const [dx, dy] of [
      [9, 0],
      [-9, 0],
      [7, -12],
      [-7, -12],
      [7, 12],
      [-7, 12],
      [7, -24],
      [-7, 24],
    ] as const) {
      const left = dx > 0 ? x + dx : x + dx - width;
      const box: Box = { left, right: left + width, top: y + dy - 7, bottom: y + dy + 7 };
      if (box.left < LEFT || box.right > WIDTH || taken.some((other) => overlap(box, other))) continue;
      taken.push(box);
      return [{ point, dx, dy, anchor: dx > 0 ? ('start' as const) : ('end' as const) }];
    }
    return [];
  });
}

function around({ x, y }: { x: number; y: number }, size: number): Box {
  return { left: x - size, right: x + size, top: y - size, bottom: y + size };
}

function overlap(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
