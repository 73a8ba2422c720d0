import { parseJsonRow } from './json-row.js';
import { JsonStructure } from './json-structure.js';
import { isBlank, readRecords, rereads, type RecordScanner } from './lines.js';
import type { Row, RowFile } from './row.js';
import type { TextSource } from './text-source.js';

/** Objects that follow each other over any number of lines, as pretty-printed JSON; one is in memory at a time. */
export function valuesFile(source: TextSource, start: number): RowFile {
  return { name: source.name, unit: 'row', rows: readValues(source, start), ...rereads(source, parseJsonRow) };
}

async function* readValues(source: TextSource, start: number): AsyncGenerator<Row> {
  let count = 0;
  for await (const { offset, bytes } of readRecords(source, start, new ValueScanner())) {
    if (!isBlank(bytes)) yield { line: ++count, at: { offset, length: bytes.length }, ...parseJsonRow(bytes) };
  }
}

/** Ends of values: the brackets that close what is not nested. */
class ValueScanner implements RecordScanner {
  readonly inclusive = true;
  private structure = new JsonStructure();

  end(bytes: Uint8Array, from: number): number {
    for (let i = from; i < bytes.length; i++) {
      const before = this.structure.depth;
      this.structure.step(bytes[i] as number);
      if (this.structure.depth >= before || this.structure.depth > 0) continue;
      this.structure = new JsonStructure();
      return i;
    }
    return -1;
  }
}
