import { definitionOf, methodOf, type AdapterConfig } from '../adapters/registry.js';
import { runConfigSchema, type RunConfig } from '../config/schema.js';
import { ConfigError } from '../errors.js';
import { isRecord } from '../io/json.js';

/** Says how the values begin, which are those of the saved adapter. */
const IGNORED: ReadonlySet<string> = new Set(['init_lora_weights']);

/**
 * Makes sure that no option asks for another adapter than the one to go on from. Options at their defaults ask for
 * nothing.
 * @throws ConfigError naming every option that does.
 */
export function requireContinued(section: RunConfig['adapter'], saved: AdapterConfig): void {
  const method = methodOf(saved);
  // Another method is told where the settings of the two are joined.
  if (method !== section.method) return;
  const defaults: Readonly<Record<string, unknown>> = runConfigSchema.shape.adapter.parse(undefined);
  const asked: Readonly<Record<string, unknown>> = section;
  const problems = Object.entries(definitionOf(method).optionsOf(saved)).flatMap(([option, has]) => {
    const wants = asked[option];
    if (IGNORED.has(option) || wants === undefined || same(wants, defaults[option]) || same(wants, has)) return [];
    return [
      `adapter.${option} ${JSON.stringify(wants)} contradicts adapter.init_from: that adapter has ${isNone(has) ? 'none' : JSON.stringify(has)}`,
    ];
  });
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
}

/**
 * Of lists the order means nothing, and one item is a list of one. Rows by module and a list of rows cannot be told
 * apart here.
 */
function same(a: unknown, b: unknown): boolean {
  if (isNone(a) || isNone(b)) return isNone(a) && isNone(b);
  if (isRecord(a) !== isRecord(b)) return true;
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  if (isRecord(value)) return JSON.stringify(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify((Array.isArray(value) ? [...(value as unknown[])] : [value]).map(String).sort());
}

function isNone(value: unknown): boolean {
  return (
    value === undefined ||
    value === null ||
    value === false ||
    (isRecord(value) && Object.keys(value).length === 0) ||
    (Array.isArray(value) && value.length === 0)
  );
}
