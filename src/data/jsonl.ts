import { DataError } from '../errors.js';
import type { ByteSource } from '../io/source.js';
import { RowProblems } from './problems.js';

/** A JSON object of a data file. */
export type JsonRow = Readonly<Record<string, unknown>>;

/** A row and where it stands. */
export interface Row {
  /** 1-based line of a JSONL file, or 1-based place in a JSON array or a given list. */
  readonly line: number;
  readonly value: JsonRow;
}

/** The rows of one file or list. */
export interface RowSource {
  readonly name: string;
  /** What `Row.line` counts. */
  readonly unit: 'line' | 'row';
  readonly rows: readonly Row[];
}

const NEWLINE = 0x0a;

/**
 * Parses JSONL (one object a line; blank lines, CRLF and a leading byte-order mark are allowed) or, when the first
 * character is `[`, one JSON array of objects.
 * Lines that are not UTF-8 or no JSON objects go into `problems`; without one they are thrown, all at once.
 * @throws DataError for an empty file and for an array that does not parse.
 */
export function parseJsonl(data: Uint8Array | string, name: string, problems?: RowProblems): RowSource {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
  const start = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  const first = bytes.findIndex((byte, i) => i >= start && byte > 0x20);
  if (first < 0) throw new DataError(`${name}: the file is empty`);
  const found = problems ?? new RowProblems();
  const source = bytes[first] === 0x5b ? parseArray(bytes.subarray(start), name, found) : parseLines(bytes, start, name, found);
  if (problems === undefined) found.throwIfAny();
  return source;
}

function parseLines(bytes: Uint8Array, start: number, name: string, problems: RowProblems): RowSource {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const rows: Row[] = [];
  let begin = start;
  for (let line = 1; begin < bytes.length; line++) {
    const newline = bytes.indexOf(NEWLINE, begin);
    const end = newline < 0 ? bytes.length : newline;
    const place = `line ${line}`;
    const text = decode(decoder, bytes.subarray(begin, end));
    begin = end + 1;
    if (text === undefined) {
      problems.add(name, place, 'not valid UTF-8');
      continue;
    }
    if (text.trim() === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      problems.add(name, place, `invalid JSON: ${error instanceof Error ? error.message : String(error)}`);
      continue;
    }
    if (isRow(value)) rows.push({ line, value });
    else problems.add(name, place, `expected a JSON object, found ${describeValue(value)}`);
  }
  return { name, unit: 'line', rows };
}

function parseArray(bytes: Uint8Array, name: string, problems: RowProblems): RowSource {
  const text = decode(new TextDecoder('utf-8', { fatal: true }), bytes);
  if (text === undefined) throw new DataError(`${name}: not valid UTF-8`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new DataError(`${name}: invalid JSON array: ${error instanceof Error ? error.message : String(error)}`);
  }
  return listRows(value as unknown[], name, problems);
}

/**
 * Wraps rows that are already parsed; entries that are no objects go into `problems`.
 * @throws DataError when the list is empty.
 */
export function listRows(values: readonly unknown[], name: string, problems: RowProblems): RowSource {
  if (values.length === 0) throw new DataError(`${name}: there are no rows`);
  const rows: Row[] = [];
  values.forEach((value, index) => {
    if (isRow(value)) rows.push({ line: index + 1, value });
    else problems.add(name, `row ${index + 1}`, `expected an object, found ${describeValue(value)}`);
  });
  return { name, unit: 'row', rows };
}

/** Reads a whole source and parses it. */
export async function readJsonl(source: ByteSource, problems?: RowProblems): Promise<RowSource> {
  return parseJsonl(await source.read(0, source.size), source.name, problems);
}

/** `null`, `a list`, `a number`, …: for messages. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function isRow(value: unknown): value is JsonRow {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function decode(decoder: TextDecoder, bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}
