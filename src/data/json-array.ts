import { DataError } from '../errors.js';
import type { ByteSource } from '../io/source.js';
import { isBlank, readRecords, type RecordScanner } from './lines.js';
import type { ParsedRow, Row, RowFile } from './row.js';

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const OPENING = new Set([0x5b, 0x7b]);
const CLOSING = new Set([0x5d, 0x7d]);

/**
 * The elements of one JSON array, of which one is in memory at a time.
 * @param start where the first element begins.
 * @param parse an element's bytes.
 */
export function arrayFile(source: ByteSource, start: number, parse: (bytes: Uint8Array) => ParsedRow): RowFile {
  return { name: source.name, unit: 'row', rows: readElements(source, start, parse), reread: async ({ offset, length }) => parse(await source.read(offset, length)) };
}

/** @throws DataError for an array that is empty, does not end, or has something behind it. */
async function* readElements(source: ByteSource, start: number, parse: (bytes: Uint8Array) => ParsedRow): AsyncGenerator<Row> {
  const scanner = new ElementScanner();
  const refuse = (problem: string): DataError => new DataError(`${source.name}: invalid JSON array: ${problem}`);
  let [count, ended] = [0, false];
  for await (const { offset, bytes } of readRecords(source, start, scanner)) {
    const blank = isBlank(bytes);
    if (ended) {
      if (!blank) throw refuse('something follows its end');
      continue;
    }
    ended = scanner.ended;
    if (ended && blank) {
      if (count === 0) throw new DataError(`${source.name}: there are no rows`);
      throw refuse('a comma stands before its end');
    }
    if (!ended && offset + bytes.length === source.size) break;
    count++;
    yield { line: count, at: { offset, length: bytes.length }, ...(blank ? { problem: 'nothing stands between two commas' } : parse(bytes)) };
  }
  if (!ended) throw refuse(`it does not end; ${count} rows are whole`);
}

/** Ends of an array's elements: commas outside of strings and of what is nested, and the bracket that ends the array. */
class ElementScanner implements RecordScanner {
  /** Whether that bracket was found. */
  ended = false;
  private depth = 0;
  private inString = false;
  private escaped = false;

  end(bytes: Uint8Array, from: number): number {
    if (this.ended) return -1;
    for (let i = from; i < bytes.length; i++) {
      const byte = bytes[i] as number;
      if (this.inString) {
        if (this.escaped) this.escaped = false;
        else if (byte === BACKSLASH) this.escaped = true;
        else if (byte === QUOTE) this.inString = false;
      } else if (byte === QUOTE) this.inString = true;
      else if (OPENING.has(byte)) this.depth++;
      else if (byte === COMMA && this.depth === 0) return i;
      else if (CLOSING.has(byte) && this.depth-- === 0) {
        this.ended = true;
        return i;
      }
    }
    return -1;
  }
}
