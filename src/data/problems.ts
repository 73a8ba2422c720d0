import { DataError } from '../errors.js';

/** A row of a file, and what is to be said about it. */
export interface NotedRow {
  readonly source: string;
  readonly row: number;
  readonly message: string;
  /** What `row` counts. Default `row`. */
  readonly unit?: 'line' | 'row' | undefined;
}

/** Rows of a file of which the same is to be said, the first of them as examples. */
export interface RowGroup extends Pick<NotedRow, 'source' | 'message' | 'unit'> {
  readonly count: number;
  readonly rows: readonly number[];
}

/** Rows that a line names. */
const EXAMPLES = 3;
/** Lines of a message. */
const LISTED = 10;
/** Groups that are kept apart; what comes later is counted together. */
const MOST_GROUPS = 1000;

/** Gathers what is to be said about rows: the same of many is one group, whatever the numbers within it are. */
export class RowNotes {
  private readonly groups = new Map<string, { first: NotedRow; count: number; rows: number[] }>();
  private total = 0;

  get count(): number {
    return this.total;
  }

  add(note: NotedRow): void {
    this.total++;
    const key = `${note.source}\n${kindOf(note.message)}`;
    const group =
      this.groups.get(key) ?? (this.groups.size < MOST_GROUPS ? { first: note, count: 0, rows: [] } : undefined);
    if (group === undefined) return;
    this.groups.set(key, group);
    group.count++;
    if (group.rows.length < EXAMPLES) group.rows.push(note.row);
  }

  /** In the order in which they were found. */
  list(): RowGroup[] {
    return [...this.groups.values()].map(({ first: { source, unit, message }, count, rows }) => ({
      source,
      unit,
      message,
      count,
      rows,
    }));
  }

  /** A line a group, at most ten. */
  lines(): string[] {
    const groups = this.list();
    const lines = groups.slice(0, LISTED).map(describeGroup);
    const more = this.total - groups.slice(0, LISTED).reduce((sum, { count }) => sum + count, 0);
    return more > 0 ? [...lines, `… and ${more} more`] : lines;
  }

  /** @throws DataError that lists the bad rows. */
  throwIfAny(): void {
    const lines = this.lines();
    if (this.total > 0)
      throw new DataError(
        this.total === 1 ? lines.join('') : `${this.total} bad rows:\n${lines.map((line) => `  ${line}`).join('\n')}`,
      );
  }
}

/** A message without what is of its row alone: numbers, and the text that a parser stumbled over. */
function kindOf(message: string): string {
  return message.replace(/^(invalid \w+:).*/s, '$1').replace(/\d+/g, '#');
}

/** `a.jsonl, line 3: …`, or `a.jsonl, 120 rows (lines 3, 4, 9, …): …`. */
export function describeGroup({ source, message, unit = 'row', count, rows }: RowGroup): string {
  if (count === 1) return `${source}, ${unit} ${rows[0] ?? 0}: ${message}`;
  return `${source}, ${count} rows (${unit}s ${rows.join(', ')}${count > rows.length ? ', …' : ''}): ${message}`;
}

/** Lines about rows that were left out. */
export function describeLeftOut(
  rows: readonly { readonly source: string; readonly row: number; readonly reason: string }[],
): string[] {
  const notes = new RowNotes();
  for (const { source, row, reason } of rows) notes.add({ source, row, message: reason });
  return notes.lines();
}
