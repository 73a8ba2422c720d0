import type * as PlotLibrary from '@observablehq/plot';
import { visible } from '../../text.js';
import type { PlotBlock } from '../document.js';
import type { SeriesStyle } from './theme.js';

/** What a plot is drawn with. */
export interface Canvas {
  readonly Plot: typeof PlotLibrary;
  readonly document: Document;
  /** Names of the plots that were drawn. */
  readonly drawn: Set<string>;
}

/** Loads the library, which only reports need, with a document to draw in where there is no browser. */
export async function openCanvas(): Promise<Canvas> {
  const [Plot, { parseHTML }] = await Promise.all([import('@observablehq/plot'), import('linkedom')]);
  return {
    Plot,
    document: parseHTML('<!doctype html><html><body></body></html>').document as unknown as Document,
    drawn: new Set(),
  };
}

/** How a plot is called, and what it says to those who do not see it. */
export interface Naming {
  readonly name: string;
  readonly title: string;
  readonly description: string;
}

/** An entry of a legend. */
export interface Key {
  readonly name: string;
  readonly style: SeriesStyle;
  readonly line: boolean;
  readonly symbol: boolean;
}

export const WIDTH = 720;
const FONT_SIZE = 12;
/** Of the text of a legend and of labels, near enough for layout. */
const CHARACTER = 6.6;
const LEGEND_ROW = 19;

/** Pixels that a text takes. */
export function textWidth(text: string): number {
  return [...text].length * CHARACTER;
}

/**
 * Draws marks, with a legend between them and the name of the vertical axis where there is more than one series. A name
 * that was used before gets a number: files and ids are made of it.
 */
export function draw(
  { Plot, document, drawn }: Canvas,
  given: Naming,
  options: PlotLibrary.PlotOptions,
  keys: readonly Key[] = [],
): PlotBlock {
  const naming = { ...given, name: freeName(given.name, drawn) };
  const width = options.width ?? WIDTH;
  const places = keys.length < 2 ? [] : layOut(keys, width);
  const legendHeight = places.length === 0 ? 0 : ((places.at(-1) as Place).row + 1) * LEGEND_ROW + 4;
  const svg = Plot.plot({
    marginBottom: 42,
    marginRight: 24,
    ...options,
    document,
    width,
    marginTop: legendHeight + 30,
    height: (options.height ?? 320) + legendHeight,
    style: { fontSize: `${FONT_SIZE}px`, overflow: 'visible' },
  }) as unknown as Element;
  for (const { key, x, row } of places) svg.append(drawKey(Plot, document, key, x, 30 + row * LEGEND_ROW));
  describe(document, svg, naming);
  return { type: 'plot', ...naming, svg: visible(svg.outerHTML) };
}

function freeName(name: string, taken: Set<string>): string {
  let free = name;
  for (let count = 2; taken.has(free); count++) free = `${name}-${count}`;
  taken.add(free);
  return free;
}

/** An SVG element with its attributes. */
export function element(
  document: Document,
  tag: string,
  attributes: Readonly<Record<string, string | number>>,
  text?: string,
): Element {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Screen readers take a drawing for one image, and read its name and description. */
function describe(document: Document, svg: Element, { name, title, description }: Naming): void {
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-labelledby', `${name}-title ${name}-desc`);
  svg.prepend(
    element(document, 'title', { id: `${name}-title` }, title),
    element(document, 'desc', { id: `${name}-desc` }, description),
  );
}

interface Place {
  readonly key: Key;
  readonly x: number;
  readonly row: number;
}

/** Where the entries of a legend stand, in rows. */
function layOut(keys: readonly Key[], width: number): Place[] {
  let [x, row] = [8, 0];
  return keys.map((key) => {
    const size = 34 + textWidth(key.name) + 14;
    if (x > 8 && x + size > width) [x, row] = [8, row + 1];
    const place = { key, x, row };
    x += size;
    return place;
  });
}

function drawKey(
  Plot: typeof PlotLibrary,
  document: Document,
  { name, style, line, symbol }: Key,
  x: number,
  y: number,
): Element {
  const group = element(document, 'g', { transform: `translate(${x},${y})`, 'aria-hidden': 'true' });
  if (line)
    group.append(
      element(document, 'line', {
        x1: 0,
        x2: 26,
        y1: 0,
        y2: 0,
        stroke: style.color,
        'stroke-width': 2,
        'stroke-dasharray': style.dash,
      }),
    );
  if (symbol) {
    const dot = Plot.plot({
      document,
      width: 26,
      height: 12,
      margin: 0,
      axis: null,
      x: { domain: [0, 1] },
      marks: [Plot.dot([0.5], { x: (d: number) => d, symbol: style.symbol, fill: style.color, r: 4 })],
    });
    const path = (dot as unknown as Element).querySelector('path, circle');
    if (path !== null) group.append(moved(path, style.color));
  }
  group.append(element(document, 'text', { x: 32, y: 0, dy: '0.32em', 'text-anchor': 'start' }, name));
  return group;
}

/** The symbol of the library in the middle of a key. */
function moved(shape: Element, color: string): Element {
  shape.setAttribute('fill', color);
  if (shape.tagName.toLowerCase() === 'circle') {
    shape.setAttribute('cx', '13');
    shape.setAttribute('cy', '0');
  } else {
    shape.setAttribute('transform', 'translate(13,0)');
  }
  return shape;
}
