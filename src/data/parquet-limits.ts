import type { FileMetaData, RowGroup } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';

const MIB = 2 ** 20;
/** The description of a file at its end; that of a thousand columns in ten thousand row groups is smaller. */
export const MAX_FOOTER_BYTES = 64 * MIB;
/**
 * What a row group may decompress to, whatever it takes in the file; and how many times what it takes. Texts reach 20
 * times.
 */
const [GROUP_BYTES, EXPANSION] = [128 * MIB, 100];
/** Rows of a group, and values of a column in it, whatever these take; and how many for each byte of the group. */
const [GROUP_ROWS, GROUP_VALUES, PER_BYTE] = [2 ** 20, 2 ** 23, 8];

/** The bytes of a file that a row group's columns take. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** What one row group may need, by what it says. */
export interface GroupSize {
  readonly range: ByteRange;
  /** Once they are decompressed. */
  readonly bytes: number;
  readonly values: number;
}

/**
 * Holds what a file says of a row group against its size and against limits, before anything is decompressed.
 * @throws Error saying what was found and what is allowed.
 */
export function groupSize(group: RowGroup, metadata: FileMetaData, fileBytes: number): GroupSize {
  let [start, end, bytes, most] = [fileBytes, 0, 0, 0];
  for (const { meta_data: column } of group.columns) {
    if (column === undefined) throw new Error('a column without its description');
    const from = Number(column.dictionary_page_offset || column.data_page_offset);
    const length = Number(column.total_compressed_size);
    if (!(from >= 4 && length >= 0 && from + length <= fileBytes))
      throw new Error(`a column of ${length} bytes at ${from}, in a file of ${fileBytes}`);
    [start, end] = [Math.min(start, from), Math.max(end, from + length)];
    bytes += Number(column.total_uncompressed_size);
    most = Math.max(most, Number(column.num_values));
  }
  // Not the sum over columns: these may share their bytes.
  const stored = Math.max(0, end - start);
  const rows = Number(group.num_rows);
  const allowed = limits(stored);
  if (!(rows >= 0 && rows <= allowed.rows))
    throw new Error(`a row group of ${rows} rows in ${stored} bytes: allowed are ${allowed.rows}`);
  if (!(most >= 0 && most <= allowed.values))
    throw new Error(`a column of ${most} values in a row group of ${stored} bytes: allowed are ${allowed.values}`);
  if (!(bytes >= 0 && bytes <= allowed.bytes))
    throw new Error(
      `a row group of ${stored} bytes that decompress to ${bytes}: allowed are ${allowed.bytes} (write smaller row groups)`,
    );
  if (metadata.schema.length > 2 ** 16) throw new Error(`${metadata.schema.length} columns`);
  return { range: start > end ? { start: 0, end: 0 } : { start, end }, bytes, values: most };
}

function limits(stored: number): { readonly rows: number; readonly values: number; readonly bytes: number } {
  return {
    rows: Math.max(GROUP_ROWS, PER_BYTE * stored),
    values: Math.max(GROUP_VALUES, PER_BYTE * stored),
    bytes: Math.max(GROUP_BYTES, EXPANSION * stored),
  };
}

/**
 * Walks the page headers of a row group, which the decoder trusts: a page of a negative size sends it back to where it
 * was, for ever.
 * @param bytes of the file from `range.start` on.
 * @throws Error for pages that overlap, pass the end of their column, or say more than the column does.
 */
export function checkPages(group: RowGroup, range: ByteRange, bytes: ArrayBuffer): void {
  for (const { meta_data: column } of group.columns) {
    if (column === undefined) continue;
    const from = Number(column.dictionary_page_offset || column.data_page_offset) - range.start;
    const end = from + Number(column.total_compressed_size);
    const name = column.path_in_schema.join('.');
    const reader = { view: new DataView(bytes, 0, end), offset: from };
    let [size, values] = [0, 0];
    // As the decoder does: a byte that is left at the end is no page.
    while (reader.offset < end - 1) {
      const page = parquetHeader(reader);
      const { compressed_page_size: stored, uncompressed_page_size: plain } = page;
      const within = isSize(stored) && isSize(plain) && reader.offset + stored <= end;
      if (!within)
        throw new Error(
          `column ${name}: a page of ${stored} bytes (${plain} decompressed), of which ${end - reader.offset} are there`,
        );
      const { data_page_header: first, data_page_header_v2: second, dictionary_page_header: dictionary } = page;
      const found: unknown = first?.num_values ?? second?.num_values ?? dictionary?.num_values ?? 0;
      if (!isSize(found)) throw new Error(`column ${name}: a page of ${String(found)} values`);
      if (second !== undefined) {
        const levels = [second.definition_levels_byte_length, second.repetition_levels_byte_length];
        if (
          ![...levels, second.num_nulls, second.num_rows].every(isSize) ||
          second.num_nulls > found ||
          (levels[0] as number) + (levels[1] as number) > stored
        )
          throw new Error(`column ${name}: the header of a page contradicts itself`);
      }
      size += plain;
      if (dictionary === undefined) values += found;
      // A dictionary has an entry for each byte at most.
      else if (found > Math.max(plain, limits(0).rows))
        throw new Error(`column ${name}: a dictionary of ${found} values in ${plain} bytes`);
      reader.offset += stored;
    }
    if (size > limits(end - from).bytes)
      throw new Error(
        `column ${name}: ${end - from} bytes that decompress to ${size}: allowed are ${limits(end - from).bytes}`,
      );
    if (values > Number(column.num_values))
      throw new Error(`column ${name}: pages of ${values} values, ${Number(column.num_values)} are announced`);
  }
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
