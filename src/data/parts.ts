import { ConfigError } from '../errors.js';
import type { DataOptions, RowFormat } from './options.js';
import type { DataSource } from './row.js';

/** Options of how rows are read, which each part of the data may have for itself. */
export const ROW_OPTIONS = [
  ...['format', 'template', 'prompt_field', 'completion_field', 'completion_template', 'text_field'],
  ...['chat_template', 'chat_template_kwargs', 'train_on'],
] as const satisfies readonly string[];

const TEXT_OPTIONS = [
  'format',
  'template',
  'prompt_field',
  'completion_field',
  'completion_template',
  'text_field',
] as const;

/** The options that decide how the text of a row is made and which tokens of it are learnt. */
export type RowOptions = Pick<
  DataOptions,
  (typeof TEXT_OPTIONS)[number] | 'chat_template' | 'chat_template_kwargs' | 'train_on'
>;

/** Files that are read alike, as one of several data sets. */
export interface DataPart {
  /** Default: the name of the first file. */
  readonly name?: string | undefined;
  readonly sources: readonly DataSource[];
  /** In place of the same options of the whole; one that says where the text comes from replaces all of that kind. */
  readonly options?: RowOptions | undefined;
  /**
   * Share of the rows of an epoch that comes from here, in proportion to the weights of all parts. Of several parts all
   * have one or none.
   */
  readonly weight?: number | undefined;
}

/** What became of a part of the data. */
export interface DatasetPart {
  readonly name: string;
  readonly format: RowFormat;
  readonly stats: DatasetStats;
  readonly dropped: readonly DroppedRow[];
  readonly weight?: number | undefined;
  /**
   * Examples that are of this part; the parts follow each other. Rows packed together belong to several, unless these
   * have weights.
   */
  readonly count: number;
}

/** A row that was left out. */
export interface DroppedRow {
  readonly source: string;
  readonly row: number;
  readonly reason: string;
}

export interface DatasetStats {
  /** Rows kept. */
  readonly rows: number;
  /** Undefined, as all that follows, where rows are only encoded when they are drawn. */
  readonly tokens?: number;
  /** Tokens that are predicted and enter the loss (the first of a row never does). */
  readonly supervisedTokens?: number;
  /** Examples cut at max_length. */
  readonly truncated?: number;
  /** Tokens of the longest example. */
  readonly longest?: number;
}

/**
 * Sources as parts; each source without options is a part of its own.
 * @throws ConfigError when only some have a weight.
 */
export function partsOf(sources: DataSource | DataPart | readonly (DataSource | DataPart)[]): DataPart[] {
  const list = Array.isArray(sources)
    ? (sources as readonly (DataSource | DataPart)[])
    : [sources as DataSource | DataPart];
  const parts = list.map((entry): DataPart => ('sources' in entry ? entry : { name: entry.name, sources: [entry] }));
  if (parts.length === 0) throw new ConfigError('data: no files are given');
  const weighted = parts.filter((part) => part.weight !== undefined).length;
  if (weighted > 0 && weighted < parts.length)
    throw new ConfigError(
      `data: ${weighted} of ${parts.length} data sets have a weight: give all of them one, or none`,
    );
  return parts;
}

/** The files of all parts, in order. */
export function sourcesOf(sources: Parameters<typeof partsOf>[0]): DataSource[] {
  return partsOf(sources).flatMap((part) => part.sources);
}

export function partName({ name, sources }: DataPart): string {
  return name ?? sources[0]?.name ?? 'data';
}

/** The options that rows of a part are read with. */
export function partOptions(whole: DataOptions, own: RowOptions = {}): DataOptions {
  const given = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined)) as RowOptions;
  const replaces = TEXT_OPTIONS.some((key) => given[key] !== undefined);
  const rest = replaces
    ? Object.fromEntries(Object.entries(whole).filter(([key]) => !(TEXT_OPTIONS as readonly string[]).includes(key)))
    : whole;
  return { ...rest, ...given };
}
