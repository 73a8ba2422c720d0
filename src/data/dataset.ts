import { ConfigError, DataError } from '../errors.js';
import { countTargets, isExampleList, type Example, type ExampleList, type Examples } from './examples.js';
import type { RowFormat } from './options.js';
import type { DatasetPart, DatasetStats, DroppedRow } from './parts.js';
import { describeLeftOut } from './problems.js';
import { checkRowOf, drawOf, prepareRow } from './prepare.js';
import { renderRow, type RenderedRow } from './render.js';
import { ExampleStore } from './store.js';
import { StreamedExamples } from './stream.js';
import { walkRows, type LoadRequest, type WalkedPart } from './walk.js';

/** Rows of one or more files, ready to be drawn as examples. */
export interface Dataset {
  readonly examples: Examples;
  /** The data sets that it is made of, in the order of their examples. */
  readonly parts: readonly DatasetPart[];
  readonly dropped: readonly DroppedRow[];
  readonly stats: DatasetStats;
  /** Format of the first source. */
  readonly format: RowFormat;
}

/** A data set in memory. */
export interface LoadedDataset extends Dataset {
  readonly examples: ExampleList;
  readonly stats: Required<DatasetStats>;
}

/** A row as text, for looking at and for generation. */
export interface TextRow extends RenderedRow {
  readonly source: string;
  readonly row: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * Reads data files into examples, piece by piece.
 * @throws ConfigError for contradicting options; DataError listing the bad rows of all files together, or when no row
 * is left.
 */
export async function loadDataset(request: LoadRequest): Promise<LoadedDataset> {
  const examples = new ExampleStore(request.vocabSize ?? request.tokenizer?.vocabSize ?? Infinity);
  const starts: number[] = [];
  const visited = await walkRows(
    request,
    ({ value, line, file, context }) => {
      const prepared = prepareRow(value, line, context);
      if (!('encoded' in prepared)) return prepared;
      const { encoded, ...said } = prepared;
      examples.push({ ...encoded, ...said, row: line, source: file.name });
      return undefined;
    },
    () => starts.push(examples.length),
  );
  return assemble(examples, visited, starts) as LoadedDataset;
}

/**
 * A data set as `options.streaming` says: in memory, or with its rows left in their files until they are drawn. Those
 * are read and checked once all the same, and tokenised only to be packed, which needs their lengths.
 * @throws as loadDataset.
 */
export async function openDataset(request: LoadRequest): Promise<Dataset> {
  const { streaming, packing = false } = request.options ?? {};
  if (streaming !== true) return loadDataset(request);
  const examples = new StreamedExamples(packing);
  const starts: number[] = [];
  const visited = await walkRows(
    request,
    (row) => {
      const { value, line, context } = row;
      const checked = packing ? prepareRow(value, line, context) : checkRowOf(value, line, context);
      if ('problem' in checked || 'empty' in checked) return checked;
      examples.push(row, 'encoded' in checked ? checked.encoded.ids.length : undefined);
      return undefined;
    },
    () => starts.push(examples.length),
  );
  return assemble(examples, visited, starts);
}

/**
 * Reads data files as text only: prompt and completion of every row that has something to learn.
 * @throws as loadDataset; ConfigError for pretokenised rows.
 */
export async function loadTextRows(request: LoadRequest): Promise<TextRow[]> {
  const rows: TextRow[] = [];
  await walkRows(request, ({ value, line, file, context }) => {
    const outcome = renderRow(value, { ...context, draw: drawOf(context, line) });
    if (!('rendered' in outcome)) return outcome;
    rows.push({ ...outcome.rendered, source: file.name, row: line, fields: value });
    return undefined;
  });
  return rows;
}

/** Sums over examples. */
function countExamples(examples: Iterable<Example>): Required<DatasetStats> {
  let [rows, tokens, supervisedTokens, truncated, longest] = [0, 0, 0, 0, 0];
  for (const { inputIds, labels, truncated: cut } of examples) {
    rows++;
    if (cut === true) truncated++;
    tokens += inputIds.length;
    supervisedTokens += countTargets(labels);
    longest = Math.max(longest, inputIds.length);
  }
  return { rows, tokens, supervisedTokens, truncated, longest };
}

function assemble(examples: Examples, walked: readonly WalkedPart[], starts: readonly number[]): Dataset {
  const dropped = walked.flatMap((part) => part.dropped);
  if (examples.length === 0) throw new DataError(nothingLeft(dropped));
  return datasetOf(
    examples,
    walked.map(({ part, name, format, dropped: left }, i) => {
      const count = (starts[i + 1] ?? examples.length) - (starts[i] ?? 0);
      if (count === 0 && part.weight !== undefined)
        throw new ConfigError(`data: ${name}: has a weight, but no row to learn from`);
      return { name, format, dropped: left, weight: part.weight, count };
    }),
  );
}

/** A data set of parts that follow each other, with what there is to count. */
export function datasetOf(examples: Examples, parts: readonly Omit<DatasetPart, 'stats'>[]): Dataset {
  let begin = 0;
  const counted = parts.map((part): DatasetPart => {
    const from = begin;
    begin += part.count;
    return {
      ...part,
      stats: isExampleList(examples) ? countExamples(slice(examples, from, begin)) : { rows: part.count },
    };
  });
  const [first] = counted;
  if (first === undefined) throw new ConfigError('data: no files are given');
  return {
    examples,
    parts: counted,
    dropped: counted.flatMap((part) => part.dropped),
    stats: sumStats(counted.map((part) => part.stats)),
    format: first.format,
  };
}

function* slice(examples: ExampleList, begin: number, end: number): Generator<Example> {
  for (let i = begin; i < end; i++) yield examples.at(i) as Example;
}

function sumStats(all: readonly DatasetStats[]): DatasetStats {
  const rows = all.reduce((sum, stats) => sum + stats.rows, 0);
  const known = all.filter((stats): stats is Required<DatasetStats> => stats.tokens !== undefined);
  if (known.length < all.length) return { rows };
  const sum = (key: 'tokens' | 'supervisedTokens' | 'truncated'): number =>
    known.reduce((total, stats) => total + stats[key], 0);
  return {
    rows,
    tokens: sum('tokens'),
    supervisedTokens: sum('supervisedTokens'),
    truncated: sum('truncated'),
    longest: Math.max(...known.map((stats) => stats.longest)),
  };
}

function nothingLeft(dropped: readonly DroppedRow[]): string {
  return `no row is left to learn from; ${dropped.length} left out:\n${describeLeftOut(dropped)
    .map((line) => `  ${line}`)
    .join('\n')}`;
}
