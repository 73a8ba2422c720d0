import Papa from 'papaparse';
import { DataError } from '../errors.js';
import { decodeText, findStart, readRecords, recordFile, type RecordScanner } from './lines.js';
import type { ParsedRow, RowFile } from './row.js';
import type { TextSource } from './text-source.js';

const NEWLINE = 0x0a;
const QUOTE = 0x22;
const DELIMITERS = [',', ';', '\t', '|'];

/**
 * CSV whose first line names the fields; every value is text. Quoted values may hold line breaks. The delimiter is told
 * by the first line unless given.
 * @throws DataError for an empty file and a first line that cannot be names.
 * Source: RFC 4180.
 */
export async function csvFile(source: TextSource, delimiter?: string): Promise<RowFile> {
  const { name } = source;
  const { start } = await findStart(source);
  const candidates = delimiter === undefined ? DELIMITERS : [delimiter];
  const [header] = await first(readRecords(source, start, new CsvScanner(candidates)));
  const found = header === undefined ? '' : (decodeText(header.bytes) ?? '').replace(/\r$/, '');
  const { data, meta, errors } = Papa.parse<string[]>(found, {
    newline: '\n',
    ...(delimiter === undefined ? { delimitersToGuess: DELIMITERS } : { delimiter }),
  });
  const names = data[0] ?? [];
  const [wrong] = errors.filter((error) => error.type !== 'Delimiter'); // a single column has none
  const twice = names.find((field, i) => names.indexOf(field) < i);
  if (wrong !== undefined || twice !== undefined || names.some((field) => field.trim() === '')) {
    const reason = wrong?.message ?? (twice === undefined ? 'a name is empty' : `"${twice}" stands there twice`);
    throw new DataError(`${name}, line 1: the first line must name the fields: ${reason}`);
  }
  return recordFile(source, start, (bytes) => parseRecord(bytes, names, meta.delimiter), {
    scanner: new CsvScanner([meta.delimiter]),
    skip: 1,
  });
}

function parseRecord(bytes: Uint8Array, names: readonly string[], delimiter: string): ParsedRow {
  const text = decodeText(bytes);
  if (text === undefined) return { problem: 'not valid UTF-8' };
  const { data, errors } = Papa.parse<string[]>(text.replace(/\r$/, ''), { delimiter, newline: '\n' });
  const [wrong] = errors;
  if (wrong !== undefined) return { problem: `invalid CSV: ${wrong.message}` };
  const values = data[0] ?? [];
  if (data.length !== 1 || values.length !== names.length)
    return { problem: `${values.length} values, but the first line names ${names.length} fields` };
  return { value: Object.fromEntries(names.map((field, i) => [field, values[i]])) };
}

/** Ends of records: line breaks outside of quotes. A quote opens only where a value begins. */
class CsvScanner implements RecordScanner {
  private readonly delimiters: ReadonlySet<number>;
  private state: 'start' | 'plain' | 'quoted' | 'closing' = 'start';

  constructor(delimiters: readonly string[]) {
    this.delimiters = new Set(delimiters.map((delimiter) => delimiter.charCodeAt(0)));
  }

  end(bytes: Uint8Array, from: number): number {
    for (let i = from; i < bytes.length; i++) {
      if (this.state === 'quoted') {
        i = bytes.indexOf(QUOTE, i);
        if (i < 0) return -1;
        this.state = 'closing';
        continue;
      }
      const byte = bytes[i] as number;
      if (byte === NEWLINE) {
        this.state = 'start';
        return i;
      }
      // A quote right behind a closing one is a quote within the value.
      if (byte === QUOTE && this.state !== 'plain') this.state = 'quoted';
      else this.state = this.delimiters.has(byte) ? 'start' : 'plain';
    }
    return -1;
  }
}

async function first<T>(items: AsyncIterable<T>): Promise<[T?]> {
  for await (const item of items) return [item];
  return [];
}
