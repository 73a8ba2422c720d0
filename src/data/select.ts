import { ConfigError } from '../errors.js';
import { compileExpression, type Expression } from '../io/expression.js';
import { uncompressedName } from './text-source.js';

/** Endings of data files; text only counts where there is nothing else, or where it is asked for. */
const TABLES = /\.(?:(?:jsonl|json|csv|tsv)(?:\.(?:gz|zst))?|parquet)$/i;
const TEXTS = /\.txt(?:\.(?:gz|zst))?$/i;
/** Descriptions of a data set, not data. */
const DESCRIPTIONS = /(?:^|\/)dataset_infos?\.json$/;

/** Names that are in use for a split, as in Hugging Face's data sets. */
const SPLIT_NAMES: Readonly<Record<string, string>> = {
  train: 'train|training',
  validation: 'validation|valid|val|dev',
  test: 'test|testing|eval|evaluation',
};

export interface FileSelection {
  /** Part of the data set, by a word in the paths of its files. */
  readonly split?: string | undefined;
  /** Patterns of paths, with `*`, `**`, `?` and braces; they decide alone. */
  readonly files?: string | readonly string[] | undefined;
  /** The split that is meant where none is named: a data set without names of splits counts as training data. */
  readonly defaultSplit?: string | undefined;
}

/**
 * The data files of a folder or of a repository, by patterns, else by the split that their paths name as a word of its
 * own.
 * @param name of the data set, for messages.
 * @throws ConfigError when none match, or when the same rows may lie there in several formats.
 */
export function selectDataFiles(
  paths: readonly string[],
  { split, files, defaultSplit = 'train' }: FileSelection,
  name: string,
): string[] {
  const found = paths.filter((path) => (TABLES.test(path) || TEXTS.test(path)) && !DESCRIPTIONS.test(path));
  if (files !== undefined) {
    const patterns = typeof files === 'string' ? [files] : files;
    const chosen = new Set<string>();
    for (const pattern of patterns) {
      const expression = globExpression(pattern);
      const matching = found.filter((path) => expression.matches(path));
      if (matching.length === 0)
        throw new ConfigError(`${name}: no data file matches ${JSON.stringify(pattern)}; ${listed(found)}`);
      for (const path of matching) chosen.add(path);
    }
    return [...chosen];
  }
  const tables = found.filter((path) => TABLES.test(path));
  const candidates = tables.length > 0 ? tables : found;
  const wanted = split ?? defaultSplit;
  const named = candidates.filter((path) => splitPattern(wanted).test(path));
  const unnamed =
    split === undefined &&
    wanted === 'train' &&
    !candidates.some((path) => Object.keys(SPLIT_NAMES).some((each) => splitPattern(each).test(path)));
  const chosen = unnamed ? candidates : named;
  if (chosen.length === 0) throw new ConfigError(`${name}: no data file of the split ${wanted}; ${listed(found)}`);
  const endings = new Set(
    chosen.map(uncompressedName).map((path) => path.slice(path.lastIndexOf('.') + 1).toLowerCase()),
  );
  if (endings.size > 1)
    throw new ConfigError(
      `${name}: the split ${wanted} has files of several formats (${[...endings].join(', ')}): name some by data_files; ${listed(chosen)}`,
    );
  return chosen;
}

/** The split as a word in a path: `train` in `data/train-00000-of-00002.parquet`, not in `constraint.csv`. */
function splitPattern(split: string): RegExp {
  const words = SPLIT_NAMES[split] ?? split.replace(/[^\w]/g, '\\$&');
  return new RegExp(`(?:^|[^A-Za-z0-9])(?:${words})(?:[^A-Za-z0-9]|$)`, 'i');
}

/** A pattern of paths as an expression that takes linear time, however many stars it has. */
function globExpression(pattern: string): Expression {
  let braces = 0;
  const source = pattern.replace(/\*\*\/|\*\*|[!-.:-@[-^`{-~]/g, (token, at: number) => {
    if (token === '{' && pattern.includes('}', at)) {
      braces++;
      return '(?:';
    }
    if (braces > 0 && token === ',') return '|';
    if (braces > 0 && token === '}') {
      braces--;
      return ')';
    }
    return { '**/': '(?:.*/)?', '**': '.*', '*': '[^/]*', '?': '[^/]' }[token] ?? `\\${token}`;
  });
  return compileExpression(source, 'data_files');
}

function listed(paths: readonly string[]): string {
  if (paths.length === 0) return 'it has none';
  return `it has ${paths.slice(0, 10).join(', ')}${paths.length > 10 ? ` and ${paths.length - 10} more` : ''}`;
}
