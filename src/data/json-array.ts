import { DataError } from '../errors.js';
import { parseJsonRow } from './json-row.js';
import { JsonStructure } from './json-structure.js';
import { isBlank, readRecords, rereads, type RecordScanner } from './lines.js';
import type { JsonRow, Row, RowFile } from './row.js';
import type { TextSource } from './text-source.js';

const COMMA = 0x2c;

/**
 * The elements of one JSON array, of which one is in memory at a time.
 * @param start where the first element begins.
 * @param nested whether the array is a value within an object, whose end was found already.
 */
export function arrayFile(source: TextSource, start: number, nested = false): RowFile {
  return {
    name: source.name,
    unit: 'row',
    rows: readElements(source, start, nested),
    ...rereads(source, parseJsonRow),
  };
}

/** The first element of an array, where it is an object. */
export async function firstElement(source: TextSource, start: number): Promise<JsonRow | undefined> {
  for await (const { bytes } of readRecords(source, start, new ElementScanner())) {
    const row = parseJsonRow(bytes);
    return 'value' in row ? row.value : undefined;
  }
  return undefined;
}

/** @throws DataError for an array that is empty, does not end, or has something behind it. */
async function* readElements(source: TextSource, start: number, nested: boolean): AsyncGenerator<Row> {
  const scanner = new ElementScanner();
  const refuse = (problem: string): DataError => new DataError(`${source.name}: invalid JSON array: ${problem}`);
  let [count, records, ended] = [0, 0, false];
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
    if (++records > scanner.found) break; // what is left where the file ends
    count++;
    yield {
      line: count,
      at: { offset, length: bytes.length },
      ...(blank ? { problem: 'nothing stands between two commas' } : parseJsonRow(bytes)),
    };
    if (ended && nested) return;
  }
  if (!ended) throw refuse(`it does not end; ${count} rows are whole`);
}

/**
 * Ends of an array's elements: commas outside of strings and of what is nested, and the bracket that ends the array.
 */
class ElementScanner implements RecordScanner {
  /** Whether that bracket was found. */
  ended = false;
  /** How many elements ended. */
  found = 0;
  private readonly structure = new JsonStructure();

  end(bytes: Uint8Array, from: number): number {
    const { structure } = this;
    for (let i = from; i < bytes.length && !this.ended; i++) {
      const byte = bytes[i] as number;
      if (!structure.step(byte)) continue;
      this.ended = structure.depth < 0;
      if (!this.ended && !(byte === COMMA && structure.depth === 0)) continue;
      this.found++;
      return i;
    }
    return -1;
  }
}
