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
/** Two columns and four rows; made by changing a byte of what `parquetWriteBuffer` writes. */
const ENDLESS_RUN =
  'UEFSMRUGFSwVLlwVCBUAFQgVABUEFQCAgICAgBABAAAAYQEFKGIBAAAAYQEAAABhFQYVHBUgXBUIFQIVCBUAFQQVAAAAAw0MLAEAAAADAAAA' +
  'BAAAABUEGTxIBHJvb3QVBAAVDCUCGAR0ZXh0JQAAFQIlAhgBbgAWCBkcGSwmCBwVDBkVABkYBHRleHQVAhYIFlYWWCYIPDYAKAFiGAFhABkc' +
  'FQYVABUCAAAAJmAcFQIZFQAZGAFuFQIWCBZGFkomYDw2AigEBAAAABgEAQAAAAAZHBUGFQAVAgAAABacARYINqIBACgJaHlwYXJxdWV0GSwc' +
  'AAAcAAAApAAAAFBBUjE=';

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
    ['bomb.parquet', /388841 bytes that decompress to 400000031: allowed are 38884100/],
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
    ).toThrow(/that decompress to 1073741824: allowed are 33554432/);
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

  // Four announced values, whose definition levels are one run of 2^30 or more.
  const runs: readonly (readonly [string, Readonly<Record<number, number>>])[] = [
    ['in the first column', { 23: 0 }],
    ['in both columns', { 23: 0, 24: 0, 25: 3, 26: 15, 27: 20, 69: 128, 70: 128, 71: 128 }],
  ];
  it.each(runs)('gets little memory where a run of levels has no end: %s', { timeout: 60_000 }, async (_, changes) => {
    const bytes = new Uint8Array(Buffer.from(ENDLESS_RUN, 'base64'));
    for (const [at, byte] of Object.entries(changes)) bytes[Number(at)] = byte;
    // What passes its limit first is a matter of the machine's speed.
    await expect(count(bytes)).rejects.toThrow(
      /a row group (needs more than 65 MiB of memory|took more than 3\.\d+ s)/,
    );
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
