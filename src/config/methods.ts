import type { RunConfig } from './schema.js';

type AdapterSection = RunConfig['adapter'];
type Method = AdapterSection['method'];

/** Options that every method takes. */
const COMMON: readonly (keyof AdapterSection)[] = ['method', 'init_from'];

/** Options that only one method takes; all others are LoRA's. */
const OWN: Readonly<Record<string, readonly (keyof AdapterSection)[]>> = {
  prompt_tuning: ['num_virtual_tokens', 'prompt_tuning_init', 'prompt_tuning_init_text'],
  bottleneck: ['placement', 'bottleneck_size', 'reduction_factor', 'non_linearity'],
  layers: ['num_trainable_layers', 'train_norms', 'train_head'],
  full: ['save_dtype'],
};

/** The method that an option of the `adapter` section belongs to; undefined for those of every method. */
export function methodOfOption(option: string): Method | undefined {
  if ((COMMON as readonly string[]).includes(option)) return undefined;
  const found = Object.entries(OWN).find(([, options]) => (options as readonly string[]).includes(option));
  return (found?.[0] as Method | undefined) ?? 'lora';
}

/** The options of the `adapter` section that its method takes, with their values. */
export function ownOptions(section: AdapterSection): Partial<AdapterSection> {
  return Object.fromEntries(
    Object.entries(section).filter(([option]) => [undefined, section.method].includes(methodOfOption(option))),
  );
}
