import { FormatError } from '../errors.js';
import { isRecord } from '../io/json.js';
import type { AdapterMethodDefinition, SavedConfig } from './adapter.js';
import { bottleneck } from './bottleneck/method.js';
import { full } from './full/method.js';
import { layers } from './layers/method.js';
import { lora } from './lora/method.js';
import { METHOD_NAMES, type AdapterMethod } from './options.js';
import { promptTuning } from './prompt/method.js';

export type { AdapterMethod } from './options.js';

/** Every way of training that `adapter.method` can name. Exhaustive: one with options alone does not compile. */
export const METHODS = {
  lora,
  prompt_tuning: promptTuning,
  bottleneck,
  layers,
  full,
} as const satisfies Readonly<Record<AdapterMethod, AdapterMethodDefinition>>;

/** What a method's own code reads of its options. */
type SettingsOf<M extends AdapterMethod> = Parameters<(typeof METHODS)[M]['create']>[1];

/** A method with its options. */
export type AdapterSettings = { [M in AdapterMethod]: { readonly method: M } & SettingsOf<M> }[AdapterMethod];

/** adapter_config.json of every kind of adapter, told apart by `peftType`. */
export type AdapterConfig = ReturnType<(typeof METHODS)[AdapterMethod]['parseConfig']>;

/** A method by its name; its options are those that a config has for it. */
export function definitionOf(method: AdapterMethod): AdapterMethodDefinition {
  return METHODS[method];
}

/** The method of a `peft_type`; undefined for an unknown one. */
export function methodOfType(type: unknown): AdapterMethod | undefined {
  return METHOD_NAMES.find((method) => METHODS[method].peftType === type);
}

/** The name of the method that made an adapter. @throws FormatError for a `peftType` of none. */
export function methodOf({ peftType }: Pick<SavedConfig, 'peftType'>): AdapterMethod {
  const method = methodOfType(peftType);
  if (method === undefined) throw new FormatError(`peft_type: ${describeTypes(peftType)}`);
  return method;
}

/**
 * adapter_config.json, read by the method that its `peft_type` names.
 * @throws FormatError naming the file and each wrong or unsupported field.
 */
export function parseAdapterConfig(json: unknown, name = 'adapter_config.json'): AdapterConfig {
  const type = isRecord(json) ? json['peft_type'] : undefined;
  const method = methodOfType(type);
  if (method === undefined) throw new FormatError(`${name}: peft_type: ${describeTypes(type)}`);
  return METHODS[method].parseConfig(json, name);
}

function describeTypes(found: unknown): string {
  const types = METHOD_NAMES.map((method) => METHODS[method].peftType);
  return `${JSON.stringify(found)} is not supported, allowed ${types.join(', ')}`;
}
