import { readFileSync } from 'node:fs';
import type { FileMetaData } from 'hyparquet';
import { parquetMetadata } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, it } from 'vitest';
import { checkPages, groupSize } from '../../src/data/parquet-limits.js';
import { openRows } from '../../src/data/rows.js';
import { DataError } from '../../src/errors.js';
import { memorySource } from '../../src/io/source.js';
import { itReferences, referencePath } from '../support/references.js';

const TEXTS = Array.from({ length: 50 }, (_, i) => `row ${i % 7}`);
const BYTES = new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'text', data: TEXTS, type: 'STRING' }] }));

async function count(bytes: Uint8Array): Promise<number> {
  let rows = 0;
  const file = await openRows(memorySource('x.parquet', bytes));
  for await (const row of file.rows) rows += 'value' in row ? 1 : 0;
  return rows;
}

describe('a Parquet file that is made to harm', () => {
  for (const [file, message] of [
    ['parquet-hang/d.parquet', /the header of a page contradicts itself/],
    ['parquet-hang/d2.parquet', /the header of a page contradicts itself/],
    ['bomb.parquet', /388841 bytes that decompress to 400000031: allowed are 134217728/],
  ] as const) {
    itReferences(`is refused by a limit: ${file}`, `cases/files/${file}`, async () => {
      await expect(count(readFileSync(referencePath(`cases/files/${file}`)))).rejects.toThrow(message);
    });
  }

  const announcing = (
    change: (group: FileMetaData['row_groups'][number]) => void,
  ): [FileMetaData['row_groups'][number], FileMetaData] => {
    const metadata = parquetMetadata(BYTES);
    const group = metadata.row_groups[0] as FileMetaData['row_groups'][number];
    change(group);
    return [group, metadata];
  };
  const column = (
    group: FileMetaData['row_groups'][number],
  ): NonNullable<FileMetaData['row_groups'][number]['columns'][number]['meta_data']> =>
    group.columns[0]?.meta_data as never;

  it('may not announce more rows, values or bytes than a file of its size can have', () => {
    expect(() => groupSize(...announcing((group) => (group.num_rows = 2n ** 40n)), BYTES.length)).toThrow(
      /a row group of 1099511627776 rows in \d+ bytes: allowed are 1048576/,
    );
    expect(() => groupSize(...announcing((group) => (column(group).num_values = 2n ** 40n)), BYTES.length)).toThrow(
      /a column of 1099511627776 values/,
    );
    expect(() =>
      groupSize(...announcing((group) => (column(group).total_uncompressed_size = 2n ** 30n)), BYTES.length),
    ).toThrow(/that decompress to 1073741824: allowed are 134217728/);
    expect(() =>
      groupSize(
        ...announcing(
          (group) => ((column(group).data_page_offset = 2n ** 20n), delete column(group).dictionary_page_offset),
        ),
        BYTES.length,
      ),
    ).toThrow(/bytes at 1048576, in a file of/);
    // Columns that share their bytes share the limit.
    expect(() =>
      groupSize(
        ...announcing((group) => {
          column(group).total_uncompressed_size = 2n ** 20n;
          group.columns = Array.from({ length: 200 }, () => group.columns[0] as never);
        }),
        BYTES.length,
      ),
    ).toThrow(/that decompress to 209715200/);
  });

  it('may not have pages of more values than were announced', () => {
    const [group, metadata] = announcing(() => undefined);
    const { range } = groupSize(group, metadata, BYTES.length);
    const bytes = BYTES.slice(range.start, range.end).buffer;
    checkPages(group, range, bytes);
    column(group).num_values = 49n;
    expect(() => checkPages(group, range, bytes)).toThrow(/column text: pages of 50 values, 49 are announced/);
  });

  it('ends in rows or a DataError wherever a byte is changed', async () => {
    expect(await count(BYTES)).toBe(50);
    for (let at = 4; at < BYTES.length; at += 3) {
      const changed = BYTES.slice();
      changed[at] = (changed[at] as number) ^ 0xff;
      await count(changed).catch((error: unknown) => {
        expect(error).toBeInstanceOf(DataError);
      });
    }
  });
});
