import type { ByteSource } from '../io/source.js';
import { arrayFile } from './json-array.js';
import { decodeText, findStart, recordFile } from './lines.js';
import { checkObject, type ParsedRow, type RowFile } from './row.js';

/**
 * JSONL (one object a line; blank lines, CRLF and a leading byte-order mark are allowed) or, when the first character is `[`, one
 * JSON array of objects. Either is read as its rows are asked for.
 * @throws DataError for an empty file.
 */
export async function jsonFile(source: ByteSource): Promise<RowFile> {
  const { start, firstByte, firstAt } = await findStart(source);
  return firstByte === 0x5b ? arrayFile(source, firstAt + 1, parseJsonRow) : recordFile(source, start, parseJsonRow);
}

function parseJsonRow(bytes: Uint8Array): ParsedRow {
  const text = decodeText(bytes);
  if (text === undefined) return { problem: 'not valid UTF-8' };
  try {
    return checkObject(JSON.parse(text), 'a JSON object');
  } catch (error) {
    return { problem: `invalid JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
}
