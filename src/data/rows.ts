import { csvFile } from './csv.js';
import { jsonFile } from './jsonl.js';
import { listRows, type DataSource, type RowFile } from './row.js';
import { textFile } from './text.js';
import { openText, uncompressedName } from './text-source.js';

/**
 * The rows of a file, by the ending of its name: `.csv`, `.tsv`, `.parquet`, `.txt` (each line that is not blank a row
 * with the field `text`); everything else is JSON (see jsonFile). Texts may be compressed by gzip or Zstandard.
 * @throws DataError for a file that is empty or cannot be read at all; what is wrong with single rows comes with the
 * rows.
 */
export async function openRows(source: DataSource): Promise<RowFile> {
  if ('rows' in source) return listRows(source.rows, source.name);
  const ending = /\.(\w+)$/.exec(uncompressedName(source.name))?.[1]?.toLowerCase();
  if (ending === 'parquet') {
    // Its decompressors are only loaded where a file needs them.
    const { parquetFile } = await import('./parquet.js');
    return parquetFile(source);
  }
  const text = await openText(source);
  switch (ending) {
    case 'csv':
      return csvFile(text);
    case 'tsv':
      return csvFile(text, '\t');
    case 'txt':
      return textFile(text);
    default:
      return jsonFile(text);
  }
}
