import { stringify } from 'yaml';
import { ConfigError } from '../errors.js';
import { contradictions } from './contradictions.js';
import { parseConfigDocument } from './document.js';
import { ownOptions } from './methods.js';
import { parseOverride, withoutNulls, withValue, type Override } from './overrides.js';
import { folderOf, resolvePaths } from './paths.js';
import { describeProblems, schemaProblems, type Problem } from './problems.js';
import { runConfigSchema, type RunConfig } from './schema.js';

/** The folders that relative paths start from. Absolute ones make the resulting config independent of where it is read. */
export interface PathBases {
  /** For paths written in the file; the folder of `fileName` unless given. */
  readonly file?: string;
  /** For paths written in overrides; the current folder unless given. */
  readonly overrides?: string;
}

/**
 * Reads a config (YAML or JSON), puts `overrides` (`training.seed=7`, values are YAML) over it, fills in the defaults
 * and resolves the paths: each path is relative to where it is written, the file's folder or the command line's.
 * A key that holds null counts as absent.
 * @param fileName as messages shall name it.
 * @throws ConfigError that lists every problem with its key, its place and what would be right.
 */
export function loadConfig(
  text: string,
  fileName: string,
  overrides: readonly string[] = [],
  bases: PathBases = {},
): RunConfig {
  const document = parseConfigDocument(text, fileName);
  const parsed = overrides.map(parseOverride);
  let values = resolvePaths(document.values ?? {}, bases.file ?? folderOf(fileName));
  for (const override of parsed) {
    const folder = bases.overrides ?? '';
    const single = resolvePaths(withValue({}, override.path, override.value), folder);
    values = withValue(values, override.path, override.path.reduce(step, single));
  }
  values = withoutNulls(values);

  const result = runConfigSchema.safeParse(values);
  const problems = contradictions(values);
  if (!result.success) problems.unshift(...schemaProblems(result.error.issues, values));
  if (result.success && problems.length === 0) return result.data;
  throw new ConfigError(describeProblems(problems, `config ${fileName}`, (path) => sourceOf(path, parsed) ?? document.locate(path)));
}

/** The whole config as YAML: what a run writes beside its results, and what reads back as the same config. */
export function serializeConfig(config: RunConfig): string {
  // Options of other methods have only their defaults, and would be refused when it is read back.
  return stringify({ ...config, adapter: ownOptions(config.adapter) }, { lineWidth: 0 });
}

function step(value: unknown, key: string): unknown {
  return (value as Record<string, unknown>)[key];
}

/** The last override that wrote the key, or a section around it. */
function sourceOf(path: Problem['path'], overrides: readonly Override[]): string | undefined {
  const override = overrides.findLast((candidate) => candidate.path.every((key, i) => key === path[i]));
  return override === undefined ? undefined : `--set ${override.source}`;
}
