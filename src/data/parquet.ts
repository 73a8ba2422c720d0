import { parquetMetadata, type FileMetaData } from 'hyparquet';
import { DataError } from '../errors.js';
import type { ByteSource } from '../io/source.js';
import { withinTime } from '../io/time-limit.js';
import { GroupDecoder, type DecodedRow } from './parquet-decode.js';
import { checkPages, groupSize, MAX_FOOTER_BYTES } from './parquet-limits.js';
import type { JsonRow, Row, RowFile, RowPlace } from './row.js';

/** "PAR1", at both ends of a file. */
const MAGIC = 0x31524150;
const METADATA_MS = 3000;

/**
 * Parquet, one row group in memory at a time; where rows are drawn out of order, as many of the last ones as are small
 * enough. Integers of 64 bits become numbers, dates ISO texts; a value that is null is absent.
 * @throws DataError for a file that is none, is empty, uses what cannot be read, or passes a limit of rows, bytes,
 * memory or time. Source: apache/parquet-format.
 */
export async function parquetFile(source: ByteSource): Promise<RowFile> {
  const { name } = source;
  let metadata: FileMetaData;
  try {
    metadata = await readMetadata(source);
    if (Number(metadata.num_rows) > Number.MAX_SAFE_INTEGER) throw new Error(`${metadata.num_rows} rows`);
  } catch (error) {
    throw unreadable(name, error);
  }
  if (metadata.num_rows === 0n || metadata.row_groups.length === 0) throw new DataError(`${name}: there are no rows`);
  const groups = new RowGroups(source, metadata);
  return {
    name,
    unit: 'row',
    rows: readRows(groups),
    reread: async ({ offset }) => ({ value: await groups.row(offset) }),
  };
}

/** What stands at the file's end. @throws Error */
async function readMetadata(source: ByteSource): Promise<FileMetaData> {
  if (source.size < 12) throw new Error('it is too short');
  const tail = await source.read(source.size - 8, 8);
  const view = new DataView(tail.buffer, tail.byteOffset, 8);
  if (view.getUint32(4, true) !== MAGIC) throw new Error('it does not end with PAR1: was it cut?');
  const length = view.getUint32(0, true);
  const allowed = Math.min(source.size - 12, MAX_FOOTER_BYTES);
  if (length > allowed) throw new Error(`its description has ${length} bytes: allowed are ${allowed}`);
  const footer = await source.read(source.size - 8 - length, length + 8);
  return withinTime(
    METADATA_MS,
    () => parquetMetadata(new Uint8Array(footer)),
    () => new Error(`its description of ${length} bytes took more than ${METADATA_MS / 1000} s to read`),
  );
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
  private readonly kept = new Map<number, Promise<readonly DecodedRow[]>>();
  private readonly decoder: GroupDecoder;

  constructor(
    private readonly source: ByteSource,
    private readonly metadata: FileMetaData,
  ) {
    const starts = [0];
    for (const { num_rows: rows } of metadata.row_groups) starts.push((starts.at(-1) as number) + Number(rows));
    this.starts = starts;
    this.decoder = new GroupDecoder(source.size);
  }

  get count(): number {
    return this.metadata.row_groups.length;
  }

  /** @throws DataError when the group cannot be read. */
  async decode(index: number): Promise<readonly DecodedRow[]> {
    const { source, metadata, starts } = this;
    const group = metadata.row_groups[index] as FileMetaData['row_groups'][number];
    const [rowStart, rowEnd] = [starts[index] as number, starts[index + 1] as number];
    try {
      const size = groupSize(group, metadata, source.size);
      const { start, end } = size.range;
      // A copy: the bytes may be a view of something larger.
      const { buffer } = new Uint8Array(await source.read(start, end - start));
      withinTime(
        METADATA_MS,
        () => checkPages(group, size.range, buffer),
        () => new Error(`the headers of its pages took more than ${METADATA_MS / 1000} s to read`),
      );
      const rows = await this.decoder.decode({ ...size, metadata, buffer, rowStart, rowEnd });
      if (rows.length !== rowEnd - rowStart)
        throw new Error(`a row group of ${rows.length} rows, ${rowEnd - rowStart} are announced`);
      return rows;
    } catch (error) {
      throw unreadable(source.name, error);
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
  if (ArrayBuffer.isView(value) && Symbol.iterator in value)
    return Array.from(value as unknown as Iterable<unknown>, plainValue);
  if (Array.isArray(value)) return value.map(plainValue);
  if (typeof value !== 'object' || value === null) return value;
  const present = Object.entries(value).filter(([, entry]) => entry !== null && entry !== undefined);
  return Object.fromEntries(present.map(([key, entry]) => [key, plainValue(entry)]));
}

function unreadable(name: string, error: unknown): DataError {
  return new DataError(
    `${name}: cannot be read as Parquet: ${error instanceof Error ? error.message : String(error)}`,
    { cause: error },
  );
}
