import { DataError } from '../errors.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { readRow } from './conversations.js';
import { detectFormat } from './formats.js';
import { checkDataOptions, type DataOptions, type RowFormat } from './options.js';
import { partName, partOptions, partsOf, type DataPart, type DroppedRow } from './parts.js';
import { formatOf, planRows } from './plan.js';
import { RowNotes } from './problems.js';
import type { RowContext } from './prepare.js';
import type { DataSource, JsonRow, RowFile, RowPlace } from './row.js';
import { openRows } from './rows.js';

/** Which rows to read, and how they become examples. */
export interface LoadRequest {
  readonly source: DataSource | DataPart | readonly (DataSource | DataPart)[];
  /** Not needed for pretokenised rows. */
  readonly tokenizer?: Tokenizer | undefined;
  readonly options?: DataOptions | undefined;
  /** Size of the model's vocabulary: every id is checked against it. Default: the tokenizer's. */
  readonly vocabSize?: number | undefined;
}

/** A row on the way. */
export interface VisitedRow {
  readonly value: JsonRow;
  readonly line: number;
  readonly at?: RowPlace | undefined;
  readonly file: RowFile;
  readonly context: RowContext;
}

/** What was walked of one part. */
export interface WalkedPart {
  readonly part: DataPart;
  readonly name: string;
  readonly format: RowFormat;
  readonly dropped: readonly DroppedRow[];
}

/** What is wrong with the row, or why it is left out; undefined when it is taken. */
type Visit = (row: VisitedRow) => { readonly problem: string } | { readonly empty: string } | undefined;

/**
 * Walks all rows of all parts in order.
 * @param onPart called before the rows of each part.
 * @throws ConfigError for contradicting options; DataError listing the bad rows of all files together.
 */
export async function walkRows(
  request: LoadRequest,
  visit: Visit,
  onPart: () => void = () => undefined,
): Promise<WalkedPart[]> {
  const { tokenizer, options = {} } = request;
  const vocabSize = request.vocabSize ?? tokenizer?.vocabSize ?? Infinity;
  const parts = partsOf(request.source).map((part) => ({ part, own: partOptions(options, part.options) }));
  for (const { own } of parts) checkDataOptions(own);
  const problems = new RowNotes();
  const walked: WalkedPart[] = [];
  let files = 0;
  for (const { part, own } of parts) {
    onPart();
    const dropped: DroppedRow[] = [];
    let format: RowFormat | undefined;
    for (const source of part.sources) {
      const file = await openRows(source);
      const settled = await walkFile(
        file,
        { options: own, tokenizer, vocabSize, file: files++ },
        { visit, problems, dropped },
      );
      format ??= settled;
    }
    // Without a row in order there are problems, which are thrown below.
    if (format !== undefined) walked.push({ part, name: partName(part), format, dropped });
  }
  problems.throwIfAny();
  if (walked.length < parts.length) throw new DataError('data: a data set names no files');
  return walked;
}

interface Outcomes {
  readonly visit: Visit;
  readonly problems: RowNotes;
  readonly dropped: DroppedRow[];
}

async function walkFile(
  file: RowFile,
  settings: Omit<RowContext, 'plan'>,
  { visit, problems, dropped }: Outcomes,
): Promise<RowFormat | undefined> {
  const { options } = settings;
  let first: { context: RowContext; line: number; mixable: boolean } | undefined;
  const refuse = (row: number, message: string): void =>
    problems.add({ source: file.name, unit: file.unit, row, message });
  for await (const row of file.rows) {
    const { line } = row;
    if ('problem' in row) {
      refuse(line, row.problem);
      continue;
    }
    if (first === undefined) {
      const plan = planRows(options, row.value, `${file.name}, ${file.unit} ${line}`);
      first = {
        context: { ...settings, plan },
        line,
        mixable: plan.format === 'template' || (options.format ?? 'auto') !== 'auto',
      };
    }
    const { context } = first;
    const format = formatOf(context.plan);
    const found = first.mixable ? format : detectFormat(row.value);
    if (found !== undefined && found !== format && !(found === 'alpaca' && format === 'alpaca_chat')) {
      refuse(line, `mixed formats: this row is ${found}, ${file.unit} ${first.line} is ${format}`);
      continue;
    }
    const read = readRow(row.value, context);
    if ('problem' in read) {
      refuse(line, read.problem);
      continue;
    }
    const refused = visit({ value: read.value, line, at: row.at, file, context });
    if (refused === undefined) continue;
    if ('problem' in refused) refuse(line, refused.problem);
    else dropped.push({ source: file.name, row: line, reason: refused.empty });
  }
  return first === undefined ? undefined : formatOf(first.context.plan);
}
