import { ConfigError } from '../../errors.js';
import { compileExpression } from '../../io/expression.js';

/** What narrows `target_modules` down, as in PEFT's LoraConfig. */
export interface TargetLimits {
  /** Modules that are only meant where they are named: `all-linear` leaves them out. */
  readonly onlyNamed?: readonly string[] | undefined;
  /** Modules that are trained as a whole. */
  readonly saved?: ((module: string) => boolean) | undefined;
  readonly exclude?: string | readonly string[] | undefined;
  readonly layers?: number | readonly number[] | undefined;
  readonly layersPattern?: string | readonly string[] | undefined;
}

/**
 * The modules that `target_modules` means, in the decoder's order. A list names path suffixes (`q_proj`,
 * `self_attn.q_proj`), a text is a regular expression over the whole path, and `all-linear` is every linear layer but
 * the output head.
 * @throws ConfigError when nothing matches, or an entry of the list matches nothing.
 */
export function matchTargets(
  modules: readonly string[],
  target: string | readonly string[],
  limits: TargetLimits = {},
): string[] {
  const all = [...modules, ...(limits.onlyNamed ?? [])];
  const matched = target === 'all-linear' ? [...modules] : matchNames(all, modules, target);
  const [excluded, inLayers] = [excludedBy(limits.exclude), layersOf(target, limits)];
  const kept = matched.filter((name) => limits.saved?.(name) !== true && !excluded(name) && inLayers(name));
  if (kept.length === 0) {
    const names = Object.entries({
      modules_to_save: limits.saved,
      exclude_modules: limits.exclude,
      layers_to_transform: limits.layers,
    }).flatMap(([name, value]) => (value === undefined ? [] : [name]));
    throw new ConfigError(
      `target_modules: ${names.join(' and ')} leave none of the ${matched.length} layers that match; ${available(modules)}`,
    );
  }
  return kept;
}

function matchNames(all: readonly string[], linears: readonly string[], target: string | readonly string[]): string[] {
  if (typeof target === 'string') {
    const pattern = compileExpression(target, 'target_modules');
    const matched = all.filter((name) => pattern.matches(name));
    if (matched.length === 0)
      throw new ConfigError(
        `target_modules: the expression ${JSON.stringify(target)} matches no linear layer; ${available(linears)}`,
      );
    return matched;
  }
  const unused = target.filter((suffix) => !all.some((name) => endsWithModule(name, suffix)));
  if (unused.length > 0 || target.length === 0) {
    const what =
      target.length === 0
        ? 'the list is empty'
        : `no linear layer is called ${unused.map((u) => JSON.stringify(u)).join(', ')}`;
    throw new ConfigError(`target_modules: ${what}; ${available(linears)}`);
  }
  return all.filter((name) => target.some((suffix) => endsWithModule(name, suffix)));
}

/** As PEFT matches a list entry: the whole path, or its end at a dot. */
export function endsWithModule(name: string, suffix: string): boolean {
  return name === suffix || name.endsWith(`.${suffix}`);
}

/** The last part of each module's path, each once, in order of appearance. */
export function moduleSuffixes(modules: readonly string[]): string[] {
  return [...new Set(modules.map((name) => name.slice(name.lastIndexOf('.') + 1)))];
}

function excludedBy(exclude: string | readonly string[] | undefined): (name: string) => boolean {
  if (exclude === undefined || exclude.length === 0) return () => false;
  if (typeof exclude !== 'string') return (name) => exclude.some((suffix) => endsWithModule(name, suffix));
  const pattern = compileExpression(exclude, 'exclude_modules');
  return (name) => pattern.matches(name);
}

/** Whether a module lies in one of the asked for layers; one outside of all layers does not. */
function layersOf(
  target: string | readonly string[],
  { layers, layersPattern }: TargetLimits,
): (name: string) => boolean {
  if (layers === undefined) {
    if (layersPattern !== undefined) throw new ConfigError('layers_pattern: needs layers_to_transform');
    return () => true;
  }
  if (typeof target === 'string' && target !== 'all-linear') {
    throw new ConfigError(
      'layers_to_transform: goes with a list of target_modules; an expression has to say the layers itself',
    );
  }
  const wanted = typeof layers === 'number' ? [layers] : layers;
  if (wanted.length === 0) return () => true;
  const lists =
    layersPattern === undefined || layersPattern.length === 0
      ? ['[^.]*']
      : typeof layersPattern === 'string'
        ? [layersPattern]
        : layersPattern;
  // The first number that a list of one of these names has, as in PEFT.
  const patterns = lists.map((list) => compileExpression(`^.*?\\.(?:${list})\\.(\\d+)\\.`, 'layers_pattern'));
  return (name) => {
    const index = patterns.map((pattern) => pattern.firstGroup(name)).find((found) => found !== undefined);
    return index !== undefined && wanted.includes(Number(index));
  };
}

function available(modules: readonly string[]): string {
  return `the model has ${moduleSuffixes(modules).join(', ')} (paths such as ${modules[0] ?? 'none'})`;
}
