import { visibleLine } from '../text.js';

/** A column of a table; numbers read best on the right. */
export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** Rows under their titles, columns two blanks apart, no blanks at the ends of lines. */
export function formatTable(columns: readonly (Column | string)[], rows: readonly (readonly string[])[]): string {
  const titled = columns.map((column) => (typeof column === 'string' ? { title: column } : column));
  const widths = titled.map((column, i) =>
    rows.reduce((width, row) => Math.max(width, widthOf(visibleLine(row[i] ?? ''))), widthOf(column.title)),
  );
  const line = (cells: readonly string[]): string =>
    titled
      .map((column, i) => {
        const cell = visibleLine(cells[i] ?? '');
        const gap = ' '.repeat((widths[i] ?? 0) - widthOf(cell));
        return 'align' in column && column.align === 'right' ? gap + cell : cell + gap;
      })
      .join('  ')
      .trimEnd();
  const rule = line(widths.map((width) => '─'.repeat(width)));
  return [line(titled.map((column) => column.title)), rule, ...rows.map(line)].join('\n') + '\n';
}

/** `name  value` lines with the values under each other. */
export function formatFields(fields: readonly (readonly [name: string, value: string])[]): string {
  const width = fields.reduce((most, [name]) => Math.max(most, widthOf(name)), 0);
  return fields.map(([name, value]) => `${name}${' '.repeat(width - widthOf(name))}  ${value}\n`).join('');
}

/** Characters, not UTF-16 units. */
function widthOf(text: string): number {
  return [...text].length;
}
