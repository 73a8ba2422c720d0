import { ConfigError } from '../errors.js';

/**
 * The modules that `target_modules` means, in the decoder's order. A list names path suffixes (`q_proj`, `self_attn.q_proj`),
 * a text is a regular expression over the whole path, and `all-linear` is every linear layer but the output head.
 * @throws ConfigError when nothing matches, or an entry of the list matches nothing.
 */
export function matchTargets(modules: readonly string[], target: string | readonly string[]): string[] {
  if (target === 'all-linear') return [...modules];
  if (typeof target === 'string') {
    const pattern = wholePath(target);
    const matched = modules.filter((name) => pattern.test(name));
    if (matched.length === 0) throw new ConfigError(`target_modules: the expression ${JSON.stringify(target)} matches no linear layer; ${available(modules)}`);
    return matched;
  }
  const unused = target.filter((suffix) => !modules.some((name) => endsWithModule(name, suffix)));
  if (unused.length > 0 || target.length === 0) {
    const what = target.length === 0 ? 'the list is empty' : `no linear layer is called ${unused.map((u) => JSON.stringify(u)).join(', ')}`;
    throw new ConfigError(`target_modules: ${what}; ${available(modules)}`);
  }
  return modules.filter((name) => target.some((suffix) => endsWithModule(name, suffix)));
}

/** As PEFT matches a list entry: the whole path, or its end at a dot. */
export function endsWithModule(name: string, suffix: string): boolean {
  return name === suffix || name.endsWith(`.${suffix}`);
}

/** The last part of each module's path, each once, in order of appearance. */
export function moduleSuffixes(modules: readonly string[]): string[] {
  return [...new Set(modules.map((name) => name.slice(name.lastIndexOf('.') + 1)))];
}

function wholePath(source: string): RegExp {
  try {
    return new RegExp(`^(?:${source})$`);
  } catch (error) {
    throw new ConfigError(`target_modules: ${JSON.stringify(source)} is no regular expression: ${(error as Error).message}`);
  }
}

function available(modules: readonly string[]): string {
  return `the model has ${moduleSuffixes(modules).join(', ')} (paths such as ${modules[0] ?? 'none'})`;
}
