import { parquetMetadataAsync, parquetReadObjects, type AsyncBuffer, type FileMetaData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { DataError } from '../errors.js';
import type { ByteSource } from '../io/source.js';
import type { JsonRow, Row, RowFile } from './row.js';

/**
 * Parquet, one row group in memory at a time. Integers of 64 bits become numbers, dates ISO texts; a value that is null is absent.
 * @throws DataError for a file that is none, is empty or uses what cannot be read.
 * Source: apache/parquet-format.
 */
export async function parquetFile(source: ByteSource): Promise<RowFile> {
  const { name } = source;
  const file: AsyncBuffer = {
    byteLength: source.size,
    async slice(start, end = source.size) {
      const bytes = await source.read(start, end - start);
      return new Uint8Array(bytes).buffer; // a copy: the bytes may be a view of something larger
    },
  };
  let metadata: FileMetaData;
  try {
    metadata = await parquetMetadataAsync(file);
  } catch (error) {
    throw unreadable(name, error);
  }
  if (metadata.num_rows === 0n) throw new DataError(`${name}: there are no rows`);
  return { name, unit: 'row', rows: readRows(file, metadata, name) };
}

async function* readRows(file: AsyncBuffer, metadata: FileMetaData, name: string): AsyncGenerator<Row> {
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    let objects: Record<string, unknown>[];
    try {
      objects = await parquetReadObjects({ file, metadata, compressors, rowStart, rowEnd });
    } catch (error) {
      throw unreadable(name, error);
    }
    for (const [i, object] of objects.entries()) yield { line: rowStart + i + 1, value: plainValue(object) as JsonRow };
    rowStart = rowEnd;
  }
}

/** A value as JSON would have it. */
function plainValue(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Date) return value.toISOString();
  if (ArrayBuffer.isView(value) && Symbol.iterator in value) return Array.from(value as unknown as Iterable<unknown>, plainValue);
  if (Array.isArray(value)) return value.map(plainValue);
  if (typeof value !== 'object' || value === null) return value;
  const present = Object.entries(value).filter(([, entry]) => entry !== null && entry !== undefined);
  return Object.fromEntries(present.map(([key, entry]) => [key, plainValue(entry)]));
}

function unreadable(name: string, error: unknown): DataError {
  return new DataError(`${name}: cannot be read as Parquet: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}
