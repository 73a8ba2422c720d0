import type { PlotBlock } from '../document.js';
import { draw, element, type Canvas, type Naming } from './canvas.js';

export interface HeatMap extends Naming {
  readonly x: string;
  readonly y: string;
  /** `values[y − 1][x − 1]`, from 0 to 1. */
  readonly values: readonly (readonly number[])[];
}

/** Cells with fewer in a row than this have their value written in them. */
const WRITTEN = 10;
/** Pixels that a number beside a row or below a column needs. */
const TICK = 18;
const STEPS = 24;
const SIDE = 380;
/** So that the name of an axis fits beside a single row. */
const LEAST_HEIGHT = 96;

/** A matrix in the colours of cividis, which look the same to those who do not tell red from green. */
export function heatMap(canvas: Canvas, { x, y, values, ...naming }: HeatMap): PlotBlock | undefined {
  const { Plot, document } = canvas;
  const cells = values.flatMap((row, i) => row.map((value, j) => ({ i: i + 1, j: j + 1, value })));
  if (cells.length === 0) return undefined;
  const [height, width] = [values.length, Math.max(...values.map((row) => row.length))];
  const cell = SIDE / Math.max(width, height, 4);
  const tall = Math.max(cell, LEAST_HEIGHT / height);
  const [left, right] = [58, 84];
  const plotWidth = Math.max(left + right + cell * width, 300);
  const ticks = (count: number, size: number): number[] => {
    const step = size < TICK ? 2 ** Math.ceil(Math.log2(TICK / size)) : 1;
    return Array.from({ length: count }, (_, k) => k + 1).filter(
      (k) => k === 1 || (k % step === 0 && (k - 1) * size >= TICK),
    );
  };
  const plot = draw(canvas, naming, {
    width: plotWidth,
    height: 72 + tall * height,
    marginLeft: left,
    marginRight: plotWidth - left - cell * width,
    padding: 0,
    x: { label: x, labelAnchor: 'center', labelArrow: 'none', labelOffset: 38, ticks: ticks(width, cell), tickSize: 3 },
    y: {
      label: y,
      labelAnchor: 'center',
      labelArrow: 'none',
      labelOffset: 46,
      ticks: ticks(height, tall),
      tickSize: 3,
      reverse: true,
    },
    color: { scheme: 'cividis', domain: [0, 1] },
    marks: [
      Plot.cell(cells, {
        x: 'j',
        y: 'i',
        fill: 'value',
        inset: cell < TICK ? 0 : 0.5,
        title: ({ i, j, value }: (typeof cells)[number]) => `φ(i = ${i}, j = ${j}) = ${value.toFixed(3)}`,
      }),
      ...(Math.max(width, height) <= WRITTEN
        ? [
            Plot.text(cells, {
              x: 'j',
              y: 'i',
              text: ({ value }: (typeof cells)[number]) => value.toFixed(2),
              fill: ({ value }: (typeof cells)[number]) => (value > 0.55 ? 'black' : 'white'),
              fontSize: cell > 36 ? 12 : 9,
            }),
          ]
        : []),
    ],
  });
  return {
    ...plot,
    svg: plot.svg.replace(
      /<\/svg>$/,
      `${ramp(canvas, left + cell * width + 22, 30, tall * height, document).outerHTML}</svg>`,
    ),
  };
}

/** What the colours mean, from 1 at the top to 0. */
function ramp({ Plot }: Canvas, x: number, y: number, height: number, document: Document): Element {
  const scale = Plot.scale({ color: { scheme: 'cividis', domain: [0, 1] } });
  const group = element(document, 'g', { transform: `translate(${x},${y})`, 'aria-hidden': 'true', stroke: 'none' });
  for (let k = 0; k < STEPS; k++) {
    const value = 1 - (k + 0.5) / STEPS;
    group.append(
      element(document, 'rect', {
        x: 0,
        y: (k * height) / STEPS,
        width: 14,
        height: height / STEPS + 0.5,
        fill: String(scale.apply(value)),
      }),
    );
  }
  for (const value of [0, 0.5, 1])
    group.append(
      element(
        document,
        'text',
        { x: 20, y: (1 - value) * height, dy: '0.32em', 'text-anchor': 'start' },
        value.toFixed(1),
      ),
    );
  return group;
}
