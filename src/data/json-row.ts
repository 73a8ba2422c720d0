import { decodeText } from './lines.js';
import { checkObject, type ParsedRow } from './row.js';

/** A row from its JSON text. */
export function parseJsonRow(bytes: Uint8Array): ParsedRow {
  const text = decodeText(bytes);
  if (text === undefined) return { problem: 'not valid UTF-8' };
  try {
    return checkObject(JSON.parse(text), 'a JSON object');
  } catch (error) {
    return { problem: `invalid JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
}
