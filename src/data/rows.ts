import { csvFile } from './csv.js';
import { jsonFile } from './jsonl.js';
import { listRows, type DataSource, type RowFile } from './row.js';
import { textFile } from './text.js';

/**
 * The rows of a file, by the ending of its name: `.csv`, `.tsv`, `.parquet`, `.txt` (each line that is not blank a row with the
 * field `text`); everything else is JSONL, or one JSON array.
 * @throws DataError for a file that is empty or cannot be read at all; what is wrong with single rows comes with the rows.
 */
export async function openRows(source: DataSource): Promise<RowFile> {
  if ('rows' in source) return listRows(source.rows, source.name);
  switch (/\.(\w+)$/.exec(source.name)?.[1]?.toLowerCase()) {
    case 'csv':
      return csvFile(source);
    case 'tsv':
      return csvFile(source, '\t');
    case 'txt':
      return textFile(source);
    case 'parquet': {
      // Its decompressors are only loaded where a file needs them.
      const { parquetFile } = await import('./parquet.js');
      return parquetFile(source);
    }
    default:
      return jsonFile(source);
  }
}
