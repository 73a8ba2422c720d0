import { isRecord } from '../io/json.js';
import { parseJsonExactly, plainNumbers } from '../io/json-numbers.js';
import { decodeText } from './lines.js';
import { checkObject, type ParsedRow } from './row.js';

/** A row from its JSON text. */
export function parseJsonRow(bytes: Uint8Array): ParsedRow {
  const text = decodeText(bytes);
  if (text === undefined) return { problem: 'not valid UTF-8' };
  try {
    return checkObject(plainTokens(parseJsonExactly(text)), 'a JSON object');
  } catch (error) {
    return { problem: `invalid JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** Columns of pretokenised rows, where 1.0 is the number 1 and nothing else. */
const TOKEN_COLUMNS = ['input_ids', 'labels', 'attention_mask'];

function plainTokens(row: unknown): unknown {
  if (!isRecord(row) || row['input_ids'] === undefined) return row;
  return {
    ...row,
    ...Object.fromEntries(
      TOKEN_COLUMNS.filter((column) => column in row).map((column) => [column, plainNumbers(row[column])]),
    ),
  };
}
