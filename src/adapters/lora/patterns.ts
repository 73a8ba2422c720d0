import { ConfigError } from '../../errors.js';
import { patternValue } from './config.js';
import { moduleSuffixes } from './targets.js';

/**
 * Refuses keys of `rank_pattern` and `alpha_pattern` that match none of the modules with an adapter: they would change
 * nothing.
 * @throws ConfigError naming all of them at once, with the names that there are and the paths that end as the key does.
 */
export function checkPatterns(
  modules: readonly string[],
  patterns: Readonly<Record<string, Readonly<Record<string, number>>>>,
): void {
  const problems = Object.entries(patterns).flatMap(([option, entries]) =>
    Object.entries(entries).flatMap(([key, value]) => {
      const alone = { [key]: value };
      if (modules.some((module) => patternValue(alone, module, NaN) === value)) return [];
      const end = key.slice(key.lastIndexOf('.') + 1);
      const near = modules.find((module) => module.endsWith(`.${end}`)) ?? modules[0] ?? 'none';
      return [
        `${option}: ${JSON.stringify(key)} matches no layer with an adapter; these are ${moduleSuffixes(modules).join(', ')} (paths such as ${near})`,
      ];
    }),
  );
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
}
