/** What a report says, before it becomes HTML or Markdown. */
export interface Report {
  readonly title: string;
  /** A sentence or two at the top. */
  readonly lead: readonly string[];
  readonly sections: readonly Section[];
  /** What report.csv holds: all that was measured, unrounded. */
  readonly rows: readonly Row[];
  /** What report.json holds beside the rows. */
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Section {
  readonly title: string;
  readonly blocks: readonly Block[];
}

export type Block = TextBlock | TableBlock | PlotBlock | CodeBlock;

export interface TextBlock {
  readonly type: 'text';
  readonly text: string;
}

export interface TableBlock {
  readonly type: 'table';
  readonly caption: string;
  readonly columns: readonly string[];
  /** Numbers stand on the right. The first cell heads its row. */
  readonly rows: readonly (readonly Cell[])[];
}

/** A drawn plot: a well-formed SVG element without namespace or style, as it stands inside HTML. */
export interface PlotBlock {
  readonly type: 'plot';
  /** Of its file, and unique in the report. */
  readonly name: string;
  readonly title: string;
  /** What there is to see, for those who do not see it. */
  readonly description: string;
  readonly svg: string;
}

export interface CodeBlock {
  readonly type: 'code';
  readonly caption: string;
  readonly text: string;
  /** Shown when asked for. */
  readonly folded?: boolean;
}

export type Cell = string | number | undefined;
export type Row = Readonly<Record<string, string | number | boolean | null>>;

/** A section, or none when there is nothing in it. */
export function section(title: string, ...blocks: readonly (Block | undefined)[]): Section[] {
  const present = blocks.filter((block) => block !== undefined);
  return present.length === 0 ? [] : [{ title, blocks: present }];
}

/** For people: five significant digits, thousands apart. */
export function shown(cell: Cell): string {
  if (cell === undefined) return '–';
  if (typeof cell === 'string') return cell;
  if (!Number.isFinite(cell)) return '–';
  if (Number.isInteger(cell)) return cell.toLocaleString('en');
  return Math.abs(cell) < 1e-3 ? cell.toExponential(2) : cell.toLocaleString('en', { maximumSignificantDigits: 5 });
}

/** The path in the report's folder. */
export function plotPath({ name }: Pick<PlotBlock, 'name'>): string {
  return `plots/${name}.svg`;
}
