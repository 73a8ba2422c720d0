import { detectFormat } from './formats.js';
import { partsOf, type DataPart } from './parts.js';
import { RowNotes } from './problems.js';
import type { DataSource, JsonRow } from './row.js';
import { openRows } from './rows.js';

/** A column of the rows of a data set. */
export interface Column {
  readonly name: string;
  /**
   * `text`: strings that are not all numbers; `number`: numbers and booleans, also as strings, as tables have them;
   * `other`: lists, objects, nothing at all.
   */
  readonly kind: 'text' | 'number' | 'other';
  /** Some row lacks it, or has null or an empty text there. */
  readonly gaps: boolean;
}

export interface DataSurvey {
  readonly rows: number;
  /** In the order in which they appear. */
  readonly columns: readonly Column[];
  /** Formats by the fields of each file's first row, each once; `undefined` for rows of no format of their own. */
  readonly formats: readonly ReturnType<typeof detectFormat>[];
  /** The first rows of each file, as sources to load. */
  readonly sample: readonly { readonly name: string; readonly rows: readonly JsonRow[] }[];
}

interface Counted {
  texts: number;
  numbers: number;
  others: number;
}

/** Rows that are kept to be looked at, of all files together. */
const SAMPLED = 2000;

/**
 * Reads all rows once, keeping the first of each file.
 * @throws DataError listing the rows that cannot be read.
 */
export async function surveyData(
  source: DataSource | DataPart | readonly (DataSource | DataPart)[],
): Promise<DataSurvey> {
  const sources = partsOf(source).flatMap((part) => part.sources);
  const kept = Math.ceil(SAMPLED / Math.max(1, sources.length));
  const columns = new Map<string, Counted>();
  const formats = new Set<ReturnType<typeof detectFormat>>();
  const sample: { name: string; rows: JsonRow[] }[] = [];
  const problems = new RowNotes();
  let count = 0;
  for (const each of sources) {
    const file = await openRows(each);
    const rows: JsonRow[] = [];
    for await (const row of file.rows) {
      if ('problem' in row) {
        problems.add({ source: file.name, unit: file.unit, row: row.line, message: row.problem });
        continue;
      }
      if (rows.length === 0) formats.add(detectFormat(row.value));
      if (rows.length < kept) rows.push(row.value);
      countColumns(row.value, columns);
      count++;
    }
    if (rows.length > 0) sample.push({ name: file.name, rows });
  }
  problems.throwIfAny();
  return {
    rows: count,
    columns: Array.from(columns, ([name, { texts, numbers, others }]) => ({
      name,
      kind: others > 0 || texts + numbers === 0 ? 'other' : texts > 0 ? 'text' : 'number',
      gaps: texts + numbers + others < count,
    })),
    formats: [...formats],
    sample,
  };
}

function countColumns(row: JsonRow, columns: Map<string, Counted>): void {
  for (const [name, value] of Object.entries(row)) {
    let counted = columns.get(name);
    if (counted === undefined) columns.set(name, (counted = { texts: 0, numbers: 0, others: 0 }));
    if (value === null || value === undefined || value === '') continue;
    if (typeof value === 'string')
      counted[value.trim() !== '' && Number.isFinite(Number(value)) ? 'numbers' : 'texts']++;
    // Numbers whose spelling is kept are objects with a value of their own.
    else if (typeof value === 'object' && typeof value.valueOf() === 'object') counted.others++;
    else counted.numbers++;
  }
}
