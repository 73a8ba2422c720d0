import { ConfigError, DataError } from '../errors.js';
import { readRow } from './conversations.js';
import { IGNORED } from './encode.js';
import type { Example, Examples } from './examples.js';
import { prepareRow, type RowContext } from './prepare.js';
import type { RowFile } from './row.js';
import type { VisitedRow } from './walk.js';

/** Numbers that are kept of each row: file, offset, length, line, tokens. */
const FIELDS = 5;

/**
 * Examples that stay in their files: of each row its place is kept (40 bytes), and it is read and encoded when it is
 * drawn. What an index stands for does not change, so orders and saved places mean the same as for examples in memory.
 */
export class StreamedExamples implements Examples {
  private readonly files: { readonly file: RowFile; readonly context: RowContext }[] = [];
  // Offsets of large files need more than 32 bits.
  private fields = new Float64Array(FIELDS * 64);
  private count = 0;

  get length(): number {
    return this.count;
  }

  /** Absent where the tokens of the rows are not counted. */
  readonly lengthAt?: (index: number) => number;

  /** @param measured whether the tokens of each row are told. */
  constructor(measured = false) {
    if (measured) this.lengthAt = (index) => this.fields[FIELDS * index + 4] as number;
  }

  /**
   * @param tokens of the row, where they are told.
   * @throws ConfigError when the rows of the file cannot be read one by one.
   */
  push({ file, context, line, at }: VisitedRow, tokens = 0): void {
    if (file.reread === undefined || at === undefined) {
      throw new ConfigError(
        `data: ${file.name}: streaming reads single rows of files, which a list in memory or a compressed file does not give: decompress the file, or leave streaming off`,
      );
    }
    if (this.files.at(-1)?.file !== file) this.files.push({ file, context });
    const begin = FIELDS * this.count;
    if (begin === this.fields.length) {
      const longer = new Float64Array(2 * begin);
      longer.set(this.fields);
      this.fields = longer;
    }
    this.fields.set([this.files.length - 1, at.offset, at.length, line, tokens], begin);
    this.count++;
  }

  /**
   * A row that turns out to have nothing to learn within max_length is an example without targets: it adds nothing to a
   * loss.
   * @throws DataError when the row cannot be encoded, or the file has changed.
   */
  async at(index: number): Promise<Example | undefined> {
    const i = index < 0 ? this.count + index : index;
    if (i < 0 || i >= this.count) return undefined;
    const [at = 0, offset = 0, length = 0, line = 0] = this.fields.subarray(FIELDS * i, FIELDS * (i + 1));
    const { file, context } = this.files[at] as (typeof this.files)[number];
    const refuse = (problem: string): DataError => new DataError(`${file.name}, ${file.unit} ${line}: ${problem}`);
    const row = await (file.reread as NonNullable<RowFile['reread']>)({ offset, length });
    if ('problem' in row) throw refuse(`${row.problem}; has the file changed?`);
    const read = readRow(row.value, context);
    if ('problem' in read) throw refuse(read.problem);
    const prepared = prepareRow(read.value, line, context);
    if ('problem' in prepared) throw refuse(prepared.problem);
    const place = { row: line, source: file.name };
    if ('empty' in prepared)
      return { inputIds: Int32Array.of(0), labels: Int32Array.of(IGNORED), ...place, truncated: true };
    const { encoded, ...said } = prepared;
    return { inputIds: Int32Array.from(encoded.ids), labels: Int32Array.from(encoded.labels), ...place, ...said };
  }
}
