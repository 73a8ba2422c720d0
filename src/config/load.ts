import { stringify } from 'yaml';
import { otherMethodsWithOption } from '../adapters/options.js';
import { ConfigError } from '../errors.js';
import { contradictions } from './contradictions.js';
import { parseConfigDocument } from './document.js';
import { isSection, parseOverride, withoutNulls, withValue, type Override } from './overrides.js';
import { folderOf, relativePaths, resolvePaths } from './paths.js';
import { describeProblems, schemaProblems, type Problem } from './problems.js';
import { runConfigSchema, type RunConfig, type RunConfigInput } from './schema.js';

/**
 * The folders that relative paths start from. Absolute ones make the resulting config independent of where it is read.
 */
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
  overrides: readonly (string | Override)[] = [],
  bases: PathBases = {},
): RunConfig {
  const document = parseConfigDocument(text, fileName);
  const parsed = overrides.map((override) => (typeof override === 'string' ? parseOverride(override) : override));
  let values = resolvePaths(document.values ?? {}, bases.file ?? folderOf(fileName));
  for (const override of parsed) {
    const folder = bases.overrides ?? '';
    const single = resolvePaths(withValue({}, override.path, override.value), folder);
    values = withValue(values, override.path, override.path.reduce(step, single));
  }
  return checkedConfig(withoutNulls(values), fileName, (path) => sourceOf(path, parsed) ?? document.locate(path));
}

/**
 * A complete config from an object of the same form as a config file: defaults filled in, everything checked. A config
 * that is complete already comes back as it is.
 * @param folder that relative paths start from; they stay as they are unless given.
 * @throws ConfigError as loadConfig does.
 */
export function completeConfig(config: RunConfigInput | RunConfig, folder?: string): RunConfig {
  if (isComplete(config)) return folder === undefined ? config : (resolvePaths(config, folder) as RunConfig);
  const values = withoutNulls(withoutUndefined(config));
  return checkedConfig(folder === undefined ? values : resolvePaths(values, folder), 'config', () => 'config');
}

/** Whether it is what the schema makes of a config, with every default in it. */
export function isComplete(config: RunConfigInput | RunConfig): config is RunConfig {
  const result = runConfigSchema.safeParse(config);
  return result.success && canonical(result.data) === canonical(config);
}

/** As JSON, with keys in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    isSection(item) ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))) : item,
  );
}

/** @throws ConfigError listing all problems. */
function checkedConfig(values: unknown, name: string, locate: (path: Problem['path']) => string): RunConfig {
  const result = runConfigSchema.safeParse(values);
  const problems = contradictions(values);
  if (!result.success) problems.unshift(...schemaProblems(result.error.issues, values));
  if (result.success && problems.length === 0) return result.data;
  throw new ConfigError(describeProblems(problems, name === 'config' ? name : `config ${name}`, locate));
}

/** A key that holds undefined counts as absent, as in any object of JavaScript. */
function withoutUndefined(values: unknown): unknown {
  if (Array.isArray(values)) return values.map(withoutUndefined);
  if (!isSection(values) || Object.getPrototypeOf(values) !== Object.prototype) return values;
  return Object.fromEntries(
    Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [[key, withoutUndefined(value)]])),
  );
}

/**
 * The whole config as YAML: what a run writes beside its results, and what reads back as the same config.
 * @param folder that it is written to: paths are relative to it then.
 */
export function serializeConfig(config: RunConfig, folder?: string): string {
  // Options of other methods have only their defaults, and would be refused when it is read back.
  const own = { ...config, adapter: takenOptions(config.adapter) };
  return stringify(folder === undefined ? own : relativePaths(own, folder), { lineWidth: 0 });
}

/** The options of the section that its method takes. */
function takenOptions(section: RunConfig['adapter']): Partial<RunConfig['adapter']> {
  return Object.fromEntries(
    Object.entries(section).filter(([option]) => otherMethodsWithOption(option, section.method) === undefined),
  );
}

function step(value: unknown, key: string): unknown {
  return (value as Record<string, unknown>)[key];
}

/** The last override that wrote the key, or a section around it. */
function sourceOf(path: Problem['path'], overrides: readonly Override[]): string | undefined {
  const override = overrides.findLast((candidate) => candidate.path.every((key, i) => key === path[i]));
  return override?.source;
}
