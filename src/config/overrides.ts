import { ConfigError } from '../errors.js';
import { yamlValues } from '../io/yaml.js';

/** One option of the command line that replaces one of the config. */
export interface Override {
  readonly path: readonly string[];
  readonly value: unknown;
  /** As it was written, for messages: `--set a.b=c`. */
  readonly source: string;
}

/**
 * Reads `a.b=c`; the value is YAML, so `true`, `2e-4` and `[q_proj, v_proj]` have their types.
 * @throws ConfigError when it is not of this form.
 */
export function parseOverride(source: string): Override {
  const equals = source.indexOf('=');
  const path = source.slice(0, Math.max(equals, 0)).trim().split('.');
  if (equals < 0 || path.some((key) => key === '')) {
    throw new ConfigError(`--set ${source}: expected option=value, for example training.learning_rate=1e-4`);
  }
  try {
    return { path, value: yamlValues(source.slice(equals + 1)), source: `--set ${source}` };
  } catch (error) {
    throw new ConfigError(`--set ${source}: the value is not valid YAML: ${(error as Error).message}`);
  }
}

/** A copy of `values` in which `path` holds `value`; what stands in the way of the path is replaced by a section. */
export function withValue(values: unknown, path: readonly (string | number)[], value: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  // Entries, not assignment: a key named __proto__ stays a key and is refused like any unknown one.
  const section = isSection(values) ? values : {};
  const current = Object.hasOwn(section, key) ? section[key] : undefined;
  return Object.fromEntries([
    ...Object.entries(section).filter(([name]) => name !== key),
    [key, withValue(current, rest, value)],
  ]);
}

/** The value at `path`, or undefined where the path leads nowhere. */
export function valueAt(values: unknown, path: readonly (string | number)[]): unknown {
  let value = values;
  for (const key of path) {
    if (Array.isArray(value) && typeof key === 'number') value = value[key];
    else if (isSection(value) && Object.hasOwn(value, key)) value = value[key];
    else return undefined;
  }
  return value;
}

/** Drops keys that hold null: `eval_steps:` and `eval_steps: null` leave the option at its default. */
export function withoutNulls(values: unknown): unknown {
  if (!isSection(values)) return values;
  return Object.fromEntries(
    Object.entries(values)
      .filter(([, value]) => value !== null)
      .map(([key, value]) => [key, withoutNulls(value)]),
  );
}

export function isSection(value: unknown): value is Record<string | number, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
