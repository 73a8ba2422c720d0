import type { DataSource, Row } from '../../src/data/row.js';
import { openRows } from '../../src/data/rows.js';
import { memorySource, type ByteSource } from '../../src/io/source.js';

/** All rows of a source, without the place of their bytes. */
export async function listSourceRows(source: DataSource): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const { at: _at, ...row } of (await openRows(source)).rows) rows.push(row);
  return rows;
}

export function textSource(name: string, text: string): ByteSource {
  return memorySource(name, new TextEncoder().encode(text));
}
