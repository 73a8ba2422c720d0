import { FormatError } from '../errors.js';
import { isRecord } from '../io/json.js';
import type { AdapterMethodDefinition } from './adapter.js';
import { bottleneck, type BottleneckOptions } from './bottleneck/method.js';
import type { AdapterConfig, PeftType } from './config.js';
import { full, type FullOptions } from './full/method.js';
import { layers } from './layers/method.js';
import type { LayersOptions } from './layers/config.js';
import { lora } from './lora/method.js';
import type { LoraOptions } from './lora/options.js';
import { promptTuning, type PromptOptions } from './prompt/method.js';

/** Every way of training that can be asked for as `adapter.method`. */
export const METHODS = { lora, prompt_tuning: promptTuning, bottleneck, layers, full } as const satisfies Record<
  string,
  AdapterMethodDefinition
>;
export type AdapterMethod = keyof typeof METHODS;

/** A method with its options. */
export type AdapterSettings =
  | ({ readonly method: 'lora' } & LoraOptions)
  | ({ readonly method: 'prompt_tuning' } & PromptOptions)
  | ({ readonly method: 'bottleneck' } & BottleneckOptions)
  | ({ readonly method: 'layers' } & LayersOptions)
  | ({ readonly method: 'full' } & FullOptions);

/** The method whose adapters have a `peft_type`. Exhaustive: a kind of adapter without a method does not compile. */
const METHOD_OF = {
  LORA: 'lora',
  PROMPT_TUNING: 'prompt_tuning',
  BOTTLENECK: 'bottleneck',
  LAYERS: 'layers',
  FULL: 'full',
} as const satisfies Record<PeftType, AdapterMethod>;

/** A method by its name; its options are those that a config has for it. */
export function definitionOf(method: AdapterMethod): AdapterMethodDefinition {
  return METHODS[method];
}

/** The name of the method that made an adapter. */
export function methodOf(config: AdapterConfig): AdapterMethod {
  return METHOD_OF[config.peftType];
}

/** The method of a `peft_type`; undefined for one that is not known. */
export function methodOfType(type: unknown): AdapterMethod | undefined {
  return typeof type === 'string' && Object.hasOwn(METHOD_OF, type) ? METHOD_OF[type as PeftType] : undefined;
}

/**
 * adapter_config.json, read by the method that its `peft_type` names.
 * @throws FormatError naming the file and each wrong or unsupported field.
 */
export function parseAdapterConfig(json: unknown, name = 'adapter_config.json'): AdapterConfig {
  const type = isRecord(json) ? json['peft_type'] : undefined;
  const method = methodOfType(type);
  if (method === undefined) {
    throw new FormatError(
      `${name}: peft_type: ${JSON.stringify(type)} is not supported, allowed ${Object.keys(METHOD_OF).join(', ')}`,
    );
  }
  return definitionOf(method).parseConfig(json, name);
}
