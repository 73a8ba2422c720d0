import { DataError } from '../errors.js';
import type { ByteSource } from '../io/source.js';
import { decodeText, findStart, recordFile } from './lines.js';
import { checkObject, listRows, type ParsedRow, type RowFile } from './row.js';

/** Engines bound the length of a text. */
const LARGEST_ARRAY = 2 ** 28;

/**
 * JSONL (one object a line; blank lines, CRLF and a leading byte-order mark are allowed) or, when the first character is `[`, one
 * JSON array of objects. Lines are read as they are asked for, an array as a whole.
 * @throws DataError for an empty file and for an array that does not parse or has more than 256 MiB.
 */
export async function jsonFile(source: ByteSource): Promise<RowFile> {
  const { name } = source;
  const { start, firstByte } = await findStart(source);
  if (firstByte === 0x5b && source.size > LARGEST_ARRAY) throw new DataError(`${name}: a JSON array of more than ${LARGEST_ARRAY / 2 ** 20} MiB is too much for one text: write it as JSONL`);
  if (firstByte === 0x5b) return listRows(parseArray(await source.read(start, source.size - start), name), name);
  return recordFile(source, start, parseLine);
}

function parseLine(bytes: Uint8Array): ParsedRow {
  const text = decodeText(bytes);
  if (text === undefined) return { problem: 'not valid UTF-8' };
  try {
    return checkObject(JSON.parse(text), 'a JSON object');
  } catch (error) {
    return { problem: `invalid JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function parseArray(bytes: Uint8Array, name: string): unknown[] {
  const text = decodeText(bytes);
  if (text === undefined) throw new DataError(`${name}: not valid UTF-8`);
  try {
    return JSON.parse(text) as unknown[];
  } catch (error) {
    throw new DataError(`${name}: invalid JSON array: ${error instanceof Error ? error.message : String(error)}`);
  }
}
