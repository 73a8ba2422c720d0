import { DataError } from '../errors.js';
import type { ParsedRow, Row, RowFile } from './row.js';
import type { TextSource } from './text-source.js';

/** A row of a text file, its line break left off. */
export interface TextRecord {
  /** 1-based line that it begins on. */
  readonly line: number;
  /** Where it lies in the file, in bytes. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Finds ends of records: the index of the byte that ends the one at `from`, −1 where the bytes end before it. */
export interface RecordScanner {
  /** The record has its last byte, which is no line break but the end of a value. */
  readonly inclusive?: true;
  end(bytes: Uint8Array, from: number): number;
}

/** A longer row is a mistake: a quote that is not closed, or a file that has no lines. */
const LONGEST_RECORD = 2 ** 26;
const NEWLINE = 0x0a;
/** Blanks and control characters are all up to here. */
const BLANK = 0x20;

const LINES: RecordScanner = { end: (bytes, from) => bytes.indexOf(NEWLINE, from) };

/**
 * Reads a file piece by piece and cuts it into records.
 * @throws DataError at a record of more than 64 MiB.
 */
export async function* readRecords(
  source: TextSource,
  start: number,
  scanner: RecordScanner = LINES,
): AsyncGenerator<TextRecord> {
  let pending: Uint8Array[] = [];
  let offset = start;
  let line = 1;
  const take = (last: Uint8Array, end: number): TextRecord => {
    const bytes = pending.length === 0 ? last : joined([...pending, last]);
    pending = [];
    const record = { line, offset, bytes };
    offset = end;
    line++;
    for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) line++;
    return record;
  };
  let position = start;
  for await (const chunk of source.chunks(start)) {
    let begin = 0;
    for (let end = scanner.end(chunk, 0); end >= 0; end = scanner.end(chunk, begin)) {
      yield take(chunk.subarray(begin, scanner.inclusive === true ? end + 1 : end), position + end + 1);
      begin = end + 1;
    }
    if (begin < chunk.length) pending.push(chunk.subarray(begin));
    position += chunk.length;
    if (position - offset > LONGEST_RECORD) {
      throw new DataError(
        `${source.name}, line ${line}: a row of more than ${LONGEST_RECORD / 2 ** 20} MiB; is a quote left open, or a line break missing?`,
      );
    }
  }
  if (pending.length > 0) yield take(new Uint8Array(0), position);
}

/** The file whose records are its rows, blank ones and the first `skip` left out. */
export function recordFile(
  source: TextSource,
  start: number,
  parse: (bytes: Uint8Array) => ParsedRow,
  { scanner = LINES, skip = 0 }: { readonly scanner?: RecordScanner; readonly skip?: number } = {},
): RowFile {
  async function* rows(): AsyncGenerator<Row> {
    let seen = 0;
    for await (const { line, offset, bytes } of readRecords(source, start, scanner)) {
      if (seen++ < skip || isBlank(bytes)) continue;
      yield { line, at: { offset, length: bytes.length }, ...parse(bytes) };
    }
  }
  return { name: source.name, unit: 'line', rows: rows(), ...rereads(source, parse) };
}

/**
 * Where a text file begins behind a byte-order mark, and its first byte that is no blank, with its place.
 * @throws DataError when there is none.
 */
export async function findStart(source: TextSource): Promise<{ start: number; firstByte: number; firstAt: number }> {
  let [position, start] = [0, 0];
  for await (const chunk of source.chunks(0)) {
    if (position === 0 && chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf) start = 3;
    const from = position === 0 ? start : 0;
    const at = chunk.subarray(from).findIndex((byte) => byte > BLANK);
    if (at >= 0) return { start, firstByte: chunk[from + at] as number, firstAt: position + from + at };
    position += chunk.length;
  }
  throw new DataError(`${source.name}: the file is empty`);
}

/** How a row is read once more, where the file is not compressed. */
export function rereads({ read }: TextSource, parse: (bytes: Uint8Array) => ParsedRow): Pick<RowFile, 'reread'> {
  return read === undefined ? {} : { reread: async ({ offset, length }) => parse(await read(offset, length)) };
}

export function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte <= BLANK);
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Undefined where the bytes are not UTF-8. */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
