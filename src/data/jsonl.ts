import { arrayFile } from './json-array.js';
import { findLayout } from './json-layout.js';
import { parseJsonRow } from './json-row.js';
import { valuesFile } from './json-values.js';
import { findStart, recordFile } from './lines.js';
import type { RowFile } from './row.js';
import type { TextSource } from './text-source.js';

/**
 * JSON objects as rows: one a line (blank lines, CRLF and a leading byte-order mark are allowed), one after the other
 * over any number of lines, an array of them, or an array as the only list of an object. Each is read as its rows are
 * asked for.
 * @throws DataError for an empty file, and where several lists of an object may be the rows.
 */
export async function jsonFile(source: TextSource): Promise<RowFile> {
  const { start, firstByte, firstAt } = await findStart(source);
  if (firstByte === 0x5b) return arrayFile(source, firstAt + 1);
  if (firstByte !== 0x7b) return recordFile(source, start, parseJsonRow);
  const layout = await findLayout(source, firstAt);
  switch (layout.kind) {
    case 'lines':
      return recordFile(source, start, parseJsonRow);
    case 'values':
      return valuesFile(source, layout.start);
    case 'nested':
      return arrayFile(source, layout.start, true);
  }
}
