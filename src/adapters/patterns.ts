import { ConfigError } from '../errors.js';
import { patternValue, type PeftConfig } from './peft-config.js';
import { moduleSuffixes } from './targets.js';

/** More keys than any model has modules. */
const MOST_KEYS = 10_000;
const MOST_LISTED = 5;

/** @throws ConfigError for keys of rank_pattern and alpha_pattern that match none of the modules that get an update. */
export function requireMatches({ rankPattern, alphaPattern }: Pick<PeftConfig, 'rankPattern' | 'alphaPattern'>, modules: readonly string[]): void {
  for (const [option, patterns] of Object.entries({ rank_pattern: rankPattern, alpha_pattern: alphaPattern })) {
    const keys = Object.keys(patterns);
    if (keys.length > MOST_KEYS) throw new ConfigError(`${option}: found ${keys.length} keys, allowed at most ${MOST_KEYS}`);
    const unused = keys.filter((key) => {
      const alone = { [key]: 1 };
      return !modules.some((module) => patternValue(alone, module, 0) === 1);
    });
    if (unused.length === 0) continue;
    const more = unused.length > MOST_LISTED ? ` and ${unused.length - MOST_LISTED} more` : '';
    throw new ConfigError(
      `${option}: no module with an update matches ${unused.slice(0, MOST_LISTED).map((key) => JSON.stringify(key)).join(', ')}${more}; those that have one are called ${moduleSuffixes(modules).join(', ')} (paths such as ${modules[0] ?? 'none'})`,
    );
  }
}
