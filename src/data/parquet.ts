import { parquetMetadataAsync, parquetReadObjects, type AsyncBuffer, type FileMetaData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { DataError } from '../errors.js';
import type { ByteSource } from '../io/source.js';
import type { JsonRow, Row, RowFile, RowPlace } from './row.js';

/**
 * Parquet, one row group in memory at a time; where rows are drawn out of order, as many of the last ones as are small enough. Integers of 64 bits become numbers, dates ISO texts; a value that is null is absent.
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
  const groups = new RowGroups(file, metadata, name);
  return { name, unit: 'row', rows: readRows(groups), reread: async ({ offset }) => ({ value: await groups.row(offset) }) };
}

async function* readRows(groups: RowGroups): AsyncGenerator<Row> {
  let at = 0;
  for (let group = 0; group < groups.count; group++) {
    for (const object of await groups.decode(group)) {
      const place: RowPlace = { offset: at++, length: 1 };
      yield { line: at, at: place, value: plainValue(object) as JsonRow };
    }
  }
}

/** Bytes of decoded row groups, by what their values take, that are kept for rows that are drawn one by one. */
const KEPT_BYTES = 2 ** 26;

/** The row groups of a file, and what was last decoded of them. */
class RowGroups {
  /** Of each group its first row, and behind the last the count of all. */
  private readonly starts: readonly number[];
  /** The one that was used longest ago first. */
  private readonly kept = new Map<number, Promise<readonly Record<string, unknown>[]>>();

  constructor(
    private readonly file: AsyncBuffer,
    private readonly metadata: FileMetaData,
    private readonly name: string,
  ) {
    const starts = [0];
    for (const { num_rows: rows } of metadata.row_groups) starts.push((starts.at(-1) as number) + Number(rows));
    this.starts = starts;
  }

  get count(): number {
    return this.metadata.row_groups.length;
  }

  /** @throws DataError when the group cannot be read. */
  async decode(group: number): Promise<readonly Record<string, unknown>[]> {
    const { file, metadata, starts } = this;
    try {
      return await parquetReadObjects({ file, metadata, compressors, rowStart: starts[group] as number, rowEnd: starts[group + 1] as number });
    } catch (error) {
      throw unreadable(this.name, error);
    }
  }

  /** A row by its place, counted from 0. */
  async row(at: number): Promise<JsonRow> {
    let group = 0;
    while (at >= (this.starts[group + 1] as number)) group++;
    const rows = this.kept.get(group) ?? this.decode(group);
    this.kept.delete(group);
    this.kept.set(group, rows);
    this.forget();
    return plainValue((await rows)[at - (this.starts[group] as number)]) as JsonRow;
  }

  /** The last one always stays. */
  private forget(): void {
    const bytes = (group: number): number => Number(this.metadata.row_groups[group]?.total_byte_size ?? 0n);
    let total = [...this.kept.keys()].reduce((sum, group) => sum + bytes(group), 0);
    for (const group of [...this.kept.keys()].slice(0, -1)) {
      if (total <= KEPT_BYTES) return;
      this.kept.delete(group);
      total -= bytes(group);
    }
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
