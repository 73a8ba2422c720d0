import { ConfigError, DataError } from '../errors.js';
import type { ByteSource } from '../io/source.js';
import { Random } from '../random.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { encodeRow, type EncodedRow } from './encode.js';
import { countTargets, type Example, type ExampleList } from './examples.js';
import { detectFormat } from './formats.js';
import { listRows, readJsonl, type Row, type RowSource } from './jsonl.js';
import { checkDataOptions, type DataOptions, type RowFormat } from './options.js';
import { planRows, type RowPlan } from './plan.js';
import { RowProblems } from './problems.js';
import { renderRow, type RenderedRow } from './render.js';
import { readTokens, vocabularyProblem } from './tokens.js';

/** A row that was left out. */
export interface DroppedRow {
  readonly source: string;
  readonly row: number;
  readonly reason: string;
}

export interface DatasetStats {
  /** Examples kept. */
  readonly rows: number;
  readonly tokens: number;
  /** Tokens that are predicted and enter the loss (the first of a row never does). */
  readonly supervisedTokens: number;
  /** Examples cut at max_length. */
  readonly truncated: number;
  /** Tokens of the longest example. */
  readonly longest: number;
}

export interface Dataset {
  readonly examples: ExampleList;
  readonly dropped: readonly DroppedRow[];
  readonly stats: DatasetStats;
  /** Format of the first source. */
  readonly format: RowFormat;
}

/** A file, or rows that are already parsed. */
export type DataSource = ByteSource | { readonly name: string; readonly rows: readonly unknown[] };

export interface LoadRequest {
  readonly source: DataSource | readonly DataSource[];
  /** Not needed for pretokenised rows. */
  readonly tokenizer?: Tokenizer | undefined;
  readonly options?: DataOptions | undefined;
  /** Size of the model's vocabulary: every id is checked against it. Default: the tokenizer's. */
  readonly vocabSize?: number | undefined;
}

/** A row as text, for looking at and for generation. */
export interface TextRow extends RenderedRow {
  readonly source: string;
  readonly row: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * Reads data files into examples.
 * @throws ConfigError for contradicting options; DataError listing the bad rows of all files together, or when no row is left.
 */
export async function loadDataset(request: LoadRequest): Promise<Dataset> {
  const { tokenizer, options = {} } = request;
  const { max_length: maxLength = Infinity, train_on: trainOn = 'completion' } = options;
  const vocabSize = request.vocabSize ?? tokenizer?.vocabSize ?? Infinity;
  const examples: Example[] = [];
  const dropped: DroppedRow[] = [];
  const format = await eachRow(request, (row, source, plan, draw) => {
    const drop = (reason: string): undefined => void dropped.push({ source: source.name, row: row.line, reason });
    let encoded: EncodedRow | { problem: string };
    if (plan.format === 'tokens') {
      encoded = readTokens(row.value);
    } else {
      if (tokenizer === undefined) throw new ConfigError(`data: rows of format ${plan.format} need a tokenizer, and this model has none`);
      const outcome = renderRow(row.value, { plan, options, tokenizer, draw });
      if ('problem' in outcome) return outcome.problem;
      if ('empty' in outcome) return drop(outcome.empty);
      encoded = encodeRow(outcome.rendered, tokenizer, trainOn);
    }
    if ('problem' in encoded) return encoded.problem;
    const problem = vocabularyProblem(encoded, vocabSize);
    if (problem !== undefined) return problem;
    const inputIds = Int32Array.from(encoded.ids.slice(0, maxLength));
    const labels = Int32Array.from(encoded.labels.slice(0, maxLength));
    const cut = inputIds.length < encoded.ids.length;
    if (countTargets(labels) === 0) return drop(cut ? `nothing to learn within max_length ${maxLength}` : 'nothing to learn');
    examples.push({ inputIds, labels, row: row.line, source: source.name, truncated: cut });
    return undefined;
  });
  if (examples.length === 0) throw new DataError(nothingLeft(dropped));
  return { examples, dropped, format, stats: countExamples(examples) };
}

/**
 * Reads data files as text only: prompt and completion of every row that has something to learn.
 * @throws as loadDataset; ConfigError for pretokenised rows.
 */
export async function loadTextRows(request: LoadRequest): Promise<TextRow[]> {
  const { tokenizer, options = {} } = request;
  const rows: TextRow[] = [];
  await eachRow(request, (row, source, plan, draw) => {
    const outcome = renderRow(row.value, { plan, options, tokenizer, draw });
    if ('problem' in outcome) return outcome.problem;
    if ('rendered' in outcome) rows.push({ ...outcome.rendered, source: source.name, row: row.line, fields: row.value });
    return undefined;
  });
  return rows;
}

/** Sums over examples. */
export function countExamples(examples: ExampleList): DatasetStats {
  let tokens = 0;
  let truncated = 0;
  let supervisedTokens = 0;
  let [rows, longest] = [0, 0];
  for (const { inputIds, labels, truncated: cut } of examples) {
    rows++;
    if (cut === true) truncated++;
    tokens += inputIds.length;
    supervisedTokens += countTargets(labels);
    longest = Math.max(longest, inputIds.length);
  }
  return { rows, tokens, supervisedTokens, truncated, longest };
}

type Visit = (row: Row, source: RowSource, plan: RowPlan, draw: Random) => string | undefined;

/** Walks all rows; what `visit` returns is wrong with the row. */
async function eachRow({ source, options = {} }: LoadRequest, visit: Visit): Promise<RowFormat> {
  checkDataOptions(options);
  const sources = Array.isArray(source) ? (source as readonly DataSource[]) : [source as DataSource];
  const problems = new RowProblems();
  const draw = new Random(options.seed ?? 0, 'templates');
  let format: RowFormat | undefined;
  for (const each of sources) {
    const file = 'rows' in each ? listRows(each.rows, each.name, problems) : await readJsonl(each, problems);
    const first = file.rows[0];
    if (first === undefined) continue; // every line is among the problems
    const plan = planRows(options, first.value, `${file.name}, ${file.unit} ${first.line}`);
    format ??= plan.format;
    const mixable = plan.format === 'template' || (options.format ?? 'auto') !== 'auto';
    for (const row of file.rows) {
      const place = `${file.unit} ${row.line}`;
      const found = mixable ? plan.format : detectFormat(row.value);
      if (found !== undefined && found !== plan.format) {
        problems.add(file.name, place, `mixed formats: this row is ${found}, ${file.unit} ${first.line} is ${plan.format}`);
        continue;
      }
      const problem = visit(row, file, plan, draw);
      if (problem !== undefined) problems.add(file.name, place, problem);
    }
  }
  problems.throwIfAny();
  if (format === undefined) throw new ConfigError('data: no files are given'); // no problem and no row: no source
  return format;
}

function nothingLeft(dropped: readonly DroppedRow[]): string {
  const listed = dropped.slice(0, 10).map(({ source, row, reason }) => `  ${source}, row ${row}: ${reason}`);
  if (dropped.length > 10) listed.push(`  … and ${dropped.length - 10} more`);
  return `no row is left to learn from; ${dropped.length} left out:\n${listed.join('\n')}`;
}
