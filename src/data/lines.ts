import { DataError } from '../errors.js';
import type { ByteSource } from '../io/source.js';
import type { ParsedRow, Row, RowFile } from './row.js';

/** A row of a text file, its line break left off. */
export interface TextRecord {
  /** 1-based line that it begins on. */
  readonly line: number;
  /** Where it lies in the file, in bytes. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Finds ends of records: the index of the line break that ends the one at `from`, −1 where the bytes end before it. */
export interface RecordScanner {
  end(bytes: Uint8Array, from: number): number;
}

/** Bytes that are in memory at once, besides a record that is longer. */
const CHUNK = 2 ** 20;
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
export async function* readRecords(source: ByteSource, start: number, scanner: RecordScanner = LINES): AsyncGenerator<TextRecord> {
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
  for (let position = start; position < source.size; position += CHUNK) {
    const chunk = await source.read(position, Math.min(CHUNK, source.size - position));
    let begin = 0;
    for (let end = scanner.end(chunk, 0); end >= 0; end = scanner.end(chunk, begin)) {
      yield take(chunk.subarray(begin, end), position + end + 1);
      begin = end + 1;
    }
    if (begin < chunk.length) pending.push(chunk.subarray(begin));
    if (position + chunk.length - offset > LONGEST_RECORD) {
      throw new DataError(`${source.name}, line ${line}: a row of more than ${LONGEST_RECORD / 2 ** 20} MiB; is a quote left open, or a line break missing?`);
    }
  }
  if (pending.length > 0) yield take(new Uint8Array(0), source.size);
}

/** The file whose records are its rows, blank ones and the first `skip` left out. */
export function recordFile(source: ByteSource, start: number, parse: (bytes: Uint8Array) => ParsedRow, { scanner = LINES, skip = 0 }: { readonly scanner?: RecordScanner; readonly skip?: number } = {}): RowFile {
  async function* rows(): AsyncGenerator<Row> {
    let seen = 0;
    for await (const { line, offset, bytes } of readRecords(source, start, scanner)) {
      if (seen++ < skip || isBlank(bytes)) continue;
      yield { line, at: { offset, length: bytes.length }, ...parse(bytes) };
    }
  }
  return { name: source.name, unit: 'line', rows: rows(), reread: async ({ offset, length }) => parse(await source.read(offset, length)) };
}

/**
 * Where a text file begins behind a byte-order mark, and its first byte that is no blank, with its place.
 * @throws DataError when there is none.
 */
export async function findStart(source: ByteSource): Promise<{ start: number; firstByte: number; firstAt: number }> {
  const head = await source.read(0, Math.min(3, source.size));
  const start = head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf ? 3 : 0;
  for (let position = start; position < source.size; position += CHUNK) {
    const chunk = await source.read(position, Math.min(CHUNK, source.size - position));
    const at = chunk.findIndex((byte) => byte > BLANK);
    if (at >= 0) return { start, firstByte: chunk[at] as number, firstAt: position + at };
  }
  throw new DataError(`${source.name}: the file is empty`);
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
