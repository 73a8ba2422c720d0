import { DataError } from '../errors.js';
import type { ByteSource } from '../io/source.js';

/** A JSON object of a data file. */
export type JsonRow = Readonly<Record<string, unknown>>;

/** A file, or rows that are already parsed. */
export type DataSource = ByteSource | { readonly name: string; readonly rows: readonly unknown[] };

/** A row, or what is wrong with it. */
export type ParsedRow = { readonly value: JsonRow } | { readonly problem: string };

/** A row and where it stands. */
export type Row = ParsedRow & { readonly line: number; readonly at?: RowPlace };

/** Where a row lies in its file: in bytes, or in rows where these are no text. */
export interface RowPlace {
  readonly offset: number;
  readonly length: number;
}

/** The rows of one file or list. */
export interface RowFile {
  readonly name: string;
  /** What `Row.line` counts, from 1. */
  readonly unit: 'line' | 'row';
  readonly rows: AsyncIterable<Row> | Iterable<Row>;
  /** Reads one row once more, where the format allows it. */
  readonly reread?: (at: RowPlace) => Promise<ParsedRow>;
}

/**
 * Rows that are already parsed.
 * @throws DataError when the list is empty.
 */
export function listRows(values: readonly unknown[], name: string): RowFile {
  if (values.length === 0) throw new DataError(`${name}: there are no rows`);
  const rows = values.map((value, index): Row => ({ line: index + 1, ...checkObject(value, 'an object') }));
  return { name, unit: 'row', rows };
}

/** A value as a row, or what it is instead. */
export function checkObject(value: unknown, wanted: string): ParsedRow {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { value: value as JsonRow };
  return { problem: `expected ${wanted}, found ${describeValue(value)}` };
}

/** `null`, `a list`, `a number`, …: for messages. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
