import { decodeText, findStart, recordFile } from './lines.js';
import type { RowFile } from './row.js';
import type { TextSource } from './text-source.js';

/**
 * A plain text: each line that is not blank is a row with the field `text`.
 * @throws DataError for an empty file.
 */
export async function textFile(source: TextSource): Promise<RowFile> {
  const { start } = await findStart(source);
  return recordFile(source, start, (bytes) => {
    const text = decodeText(bytes);
    return text === undefined ? { problem: 'not valid UTF-8' } : { value: { text: text.replace(/\r$/, '') } };
  });
}
