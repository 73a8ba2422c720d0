import type { RunConfig } from '../config/schema.js';
import { ConfigError } from '../errors.js';
import type { ModelConfig } from '../model/config.js';
import { definitionOf, methodOf, type AdapterConfig, type AdapterSettings } from './registry.js';

/**
 * What a run trains: its adapter section, with the sizes of the adapter that it goes on from.
 * @throws ConfigError when that is of another method.
 */
export function adapterSettings(section: RunConfig['adapter'], saved?: AdapterConfig): AdapterSettings {
  if (saved === undefined) return section;
  const method = methodOf(saved);
  if (method !== section.method)
    throw new ConfigError(`adapter.init_from: that adapter is one of method ${method}: --set adapter.method=${method}`);
  return { ...section, ...definitionOf(method).optionsOf(saved) };
}

/** The settings that a saved adapter was made with, as far as they decide sizes. */
export function savedSettings(saved: AdapterConfig): AdapterSettings {
  const method = methodOf(saved);
  return { method, ...definitionOf(method).optionsOf(saved) } as AdapterSettings;
}

/** Which of the base's tensors must be loaded as float variables; undefined for none. */
export function trainedBase(model: ModelConfig, settings: AdapterSettings): ((tensor: string) => boolean) | undefined {
  return definitionOf(settings.method).trainable?.(model, settings);
}

/** Longest row that a model takes with this adapter. */
export function contextOf(model: ModelConfig, settings: AdapterSettings): number {
  return model.maxPositions - (definitionOf(settings.method).virtualTokens?.(settings) ?? 0);
}
