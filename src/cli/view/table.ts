import stringWidth from 'string-width';
import wrapAnsi from 'wrap-ansi';
import { visibleLine } from '../../text.js';
import { terminalWidth } from './terminal.js';

/** A column of a table; numbers read best on the right. */
export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

const GAP = '  ';

/** Text that is longer is wrapped to no less than this. */
const LEAST_TEXT = 24;

/**
 * Rows under their titles, columns two blanks apart, no blanks at the ends of lines. A table that is wider than `width`
 * has its titles and texts wrapped; what then is still too wide goes into a second table below, which begins with the
 * first column again. Nothing is left out. @param width of the terminal on standard output unless given; a pipe has no
 * end
 */
export function formatTable(
  columns: readonly (Column | string)[],
  rows: readonly (readonly string[])[],
  width = terminalWidth(),
): string {
  const all = columns.map((column, i): Filled => {
    const { title, align = 'left' } = typeof column === 'string' ? { title: column } : column;
    return { title, right: align === 'right', cells: rows.map((row) => visibleLine(row[i] ?? '')) };
  });
  if (totalOf(all.map(naturalWidth)) <= width) return render(all, all.map(naturalWidth));
  return groupsWithin(all, width)
    .map((group) => render(group, widthsWithin(group, width)))
    .join('\n');
}

interface Filled {
  readonly title: string;
  readonly right: boolean;
  readonly cells: readonly string[];
}

function naturalWidth({ title, cells }: Filled): number {
  return cells.reduce((width, cell) => Math.max(width, stringWidth(cell)), stringWidth(title));
}

/** Numbers are never broken, nor words of a title. */
function leastWidth(column: Filled): number {
  const words = column.title.split(' ').reduce((width, word) => Math.max(width, stringWidth(word)), 0);
  const cells = column.cells.reduce((width, cell) => Math.max(width, stringWidth(cell)), 0);
  return column.right ? Math.max(words, cells) : Math.max(words, Math.min(cells, LEAST_TEXT));
}

function totalOf(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width, GAP.length * (widths.length - 1));
}

/** As many columns a table as fit at their least widths, the first in each of them. */
function groupsWithin(columns: readonly Filled[], width: number): Filled[][] {
  const [first, ...rest] = columns as [Filled, ...Filled[]];
  const groups: Filled[][] = [[first]];
  for (const column of rest) {
    const group = groups.at(-1) as Filled[];
    if (group.length > 1 && totalOf([...group, column].map(leastWidth)) > width) groups.push([first, column]);
    else group.push(column);
  }
  return groups;
}

/** The widest gives way first, down to its least width. */
function widthsWithin(columns: readonly Filled[], width: number): number[] {
  const widths = columns.map(naturalWidth);
  const least = columns.map(leastWidth);
  while (totalOf(widths) > width) {
    const spare = widths.map((value, i) => (value > (least[i] as number) ? value : 0));
    const widest = Math.max(...spare);
    if (widest === 0) break;
    (widths[spare.indexOf(widest)] as number) -= 1;
  }
  return widths;
}

function render(columns: readonly Filled[], widths: readonly number[]): string {
  const line = (cells: readonly string[]): string => {
    const wrapped = cells.map((cell, i) => wrap(cell, widths[i] as number));
    const height = Math.max(...wrapped.map((lines) => lines.length));
    const aligned = (text: string, i: number): string => {
      const gap = ' '.repeat(Math.max(0, (widths[i] as number) - stringWidth(text)));
      return columns[i]?.right === true ? gap + text : text + gap;
    };
    return Array.from({ length: height }, (_, at) =>
      wrapped
        .map((lines, i) => aligned(lines[at] ?? '', i))
        .join(GAP)
        .trimEnd(),
    ).join('\n');
  };
  const rule = widths.map((width) => '─'.repeat(width)).join(GAP);
  const rows = (columns[0]?.cells ?? []).map((_, row) => line(columns.map(({ cells }) => cells[row] as string)));
  return [line(columns.map(({ title }) => title)), rule, ...rows].join('\n') + '\n';
}

/** Lists are broken behind commas, longer words where they have to be. */
function wrap(text: string, width: number): string[] {
  return stringWidth(text) <= width
    ? [text]
    : wrapAnsi(text.replace(/,(?=[^\s\d])/g, ', '), width, { hard: true }).split('\n');
}

/** `name  value` lines with the values under each other, wrapped to the terminal's width. */
export function formatFields(
  fields: readonly (readonly [name: string, value: string])[],
  width = terminalWidth(),
): string {
  const named = fields.reduce((most, [name]) => Math.max(most, stringWidth(name)), 0);
  const room = Math.max(LEAST_TEXT, width - named - GAP.length);
  return fields
    .map(([name, value]) => {
      const lines = value.split('\n').flatMap((line) => wrap(line, room));
      return lines
        .map(
          (line, i) => `${i === 0 ? name + ' '.repeat(named - stringWidth(name)) : ' '.repeat(named)}${GAP}${line}\n`,
        )
        .join('');
    })
    .join('');
}
