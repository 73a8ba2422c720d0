import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { LoadedDataset } from './dataset.js';
import { countTargets, type Example } from './examples.js';
import { mixOf, sharesOf } from './mix.js';
import type { RowFormat } from './options.js';
import { packDataset } from './packing.js';
import type { DatasetPart, DatasetStats, DroppedRow } from './parts.js';
import { renderExample, type Marks } from './show.js';

/** Examples of `from` to `to` tokens. */
export interface LengthBin {
  readonly from: number;
  readonly to: number;
  readonly rows: number;
}

/** An example to look at. */
export interface Sample {
  readonly source: string;
  readonly row: number;
  readonly tokens: number;
  readonly supervisedTokens: number;
  readonly truncated: boolean;
  /** With marks around what is learnt. */
  readonly text: string;
}

export interface PartReport {
  readonly name: string;
  readonly format: RowFormat;
  readonly stats: Required<DatasetStats>;
  readonly weight: number | undefined;
  /** Rows drawn in an epoch. */
  readonly drawn: number;
  readonly dropped: readonly DroppedRow[];
  readonly lengths: readonly LengthBin[];
  readonly samples: readonly Sample[];
}

export interface DatasetReport {
  readonly stats: Required<DatasetStats>;
  /** Of packed training rows: how many there are, and the part of them that is no padding. */
  readonly packed: { readonly rows: number; readonly filled: number } | undefined;
  readonly parts: readonly PartReport[];
}

export interface ReportOptions {
  readonly tokenizer: Tokenizer | undefined;
  /** Examples that are shown of each part, spread over it. */
  readonly samples: number;
  readonly marks?: Marks | undefined;
  /** Tokens of a packed row; undefined where rows are not packed. */
  readonly packTo?: number | undefined;
}

/** Bars of a histogram at most. */
const BINS = 8;

/** What there is to know about a data set before it is trained on. */
export function reportDataset(set: LoadedDataset, options: ReportOptions): DatasetReport {
  const packed = options.packTo === undefined ? set : packDataset(set, { maxLength: options.packTo });
  const mix = mixOf(packed.parts);
  const shares = mix === undefined ? undefined : sharesOf(mix);
  let begin = 0;
  const parts = set.parts.map((part, i): PartReport => {
    const at = (index: number): Example => set.examples.at(from + index) as Example;
    const from = begin;
    begin += part.count;
    return reportPart(
      part as DatasetPart & { readonly stats: Required<DatasetStats> },
      at,
      shares?.[i] ?? packed.parts[i]?.count ?? part.count,
      options,
    );
  });
  const rows = packed.examples.length;
  return {
    stats: set.stats,
    packed: options.packTo === undefined ? undefined : { rows, filled: set.stats.tokens / (rows * options.packTo) },
    parts,
  };
}

function reportPart(
  part: DatasetPart & { readonly stats: Required<DatasetStats> },
  at: (index: number) => Example,
  drawn: number,
  { tokenizer, samples, marks }: ReportOptions,
): PartReport {
  const { name, format, stats, weight, dropped, count } = part;
  const lengths = Int32Array.from({ length: count }, (_, i) => at(i).inputIds.length);
  const shown = Math.min(samples, count);
  return {
    ...{ name, format, stats, weight, drawn, dropped },
    lengths: histogram(lengths),
    samples: Array.from({ length: shown }, (_, i) => sampleOf(at(Math.floor((i * count) / shown)), tokenizer, marks)),
  };
}

function sampleOf(example: Example, tokenizer: Tokenizer | undefined, marks: Marks | undefined): Sample {
  const { source, row, inputIds, labels, truncated = false } = example;
  return {
    source,
    row,
    tokens: inputIds.length,
    supervisedTokens: countTargets(labels),
    truncated,
    text: renderExample(example, tokenizer, marks),
  };
}

/** Lengths in about eight bins of equal width, 1, 2 or 5 times a power of ten; the last ends with the longest. */
export function histogram(lengths: Int32Array): LengthBin[] {
  if (lengths.length === 0) return [];
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
  const shortest = lengths.reduce((least, length) => Math.min(least, length), longest);
  let width = 1;
  for (let scale = 1; width * BINS <= longest - shortest; scale *= 10)
    width = [1, 2, 5, 10].map((step) => step * scale).find((each) => each * BINS > longest - shortest) ?? 10 * scale;
  const binOf = (length: number): number => Math.ceil(length / width) - 1;
  const first = binOf(shortest);
  const bins = Array.from({ length: binOf(longest) - first + 1 }, (_, i) => ({
    from: (first + i) * width + 1,
    to: Math.min((first + i + 1) * width, longest),
    rows: 0,
  }));
  for (const length of lengths) (bins[binOf(length) - first] as { rows: number }).rows++;
  return bins;
}
