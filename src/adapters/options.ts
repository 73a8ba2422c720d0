import { bottleneckOptions } from './bottleneck/options.js';
import { fullOptions } from './full/options.js';
import { layersOptions } from './layers/options.js';
import { loraOptions } from './lora/options.js';
import type { MethodOptions } from './method-options.js';
import { promptOptions } from './prompt/options.js';

/**
 * The options of every method that `adapter.method` can name, in the order of the reference page. A method without an
 * implementation in `registry.ts` does not compile.
 * See docs/recipes/adapter-method.md for how to add one.
 */
export const METHOD_OPTIONS = {
  lora: loraOptions,
  prompt_tuning: promptOptions,
  bottleneck: bottleneckOptions,
  layers: layersOptions,
  full: fullOptions,
} as const satisfies Record<string, MethodOptions>;

export type AdapterMethod = keyof typeof METHOD_OPTIONS;

export const METHOD_NAMES = Object.keys(METHOD_OPTIONS) as AdapterMethod[];

type Intersection<U> = (U extends unknown ? (each: U) => void : never) extends (all: infer I) => void ? I : never;
type AllOptions = Intersection<(typeof METHOD_OPTIONS)[AdapterMethod]['options']>;

/** The options of all methods, for the schema of the `adapter` section. */
export const allMethodOptions = joinOptions() as { readonly [K in keyof AllOptions]: AllOptions[K] };

/** @throws Error when two methods mean different things by one name */
function joinOptions(): Record<string, unknown> {
  const joined: Record<string, unknown> = {};
  for (const method of METHOD_NAMES) {
    for (const [name, schema] of Object.entries<unknown>(optionsOfMethod(method).options)) {
      if (joined[name] !== undefined && joined[name] !== schema)
        throw new Error(`adapter.${name}: ${method} has another schema than the methods before it`);
      joined[name] = schema;
    }
  }
  return joined;
}

export function optionsOfMethod(method: AdapterMethod): MethodOptions {
  return METHOD_OPTIONS[method];
}

/** The methods that take an option of the `adapter` section. Empty for `method` itself and for unknown options. */
export function methodsWithOption(option: string): AdapterMethod[] {
  return METHOD_NAMES.filter((method) => Object.hasOwn(METHOD_OPTIONS[method].options, option));
}

/** The methods that an option belongs to, if `method` is not one of them; undefined for an option that it takes. */
export function otherMethodsWithOption(option: string, method: unknown): AdapterMethod[] | undefined {
  const owners = methodsWithOption(option);
  const others = owners.length > 0 && owners.length < METHOD_NAMES.length && !owners.some((owner) => owner === method);
  return others ? owners : undefined;
}
