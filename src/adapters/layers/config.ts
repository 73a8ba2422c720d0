import * as z from 'zod';
import {
  commonFields,
  parseFields,
  readCommon,
  serializeFields,
  writtenCommon,
  type SavedConfig,
} from '../peft/fields.js';
import type { LayersOptions } from './options.js';

/** adapter_config.json of trained layers: a kind of this package, which PEFT does not know. */
export interface LayersConfig extends SavedConfig {
  readonly peftType: 'LAYERS';
  readonly options: LayersOptions;
}

/** The same of a model that is trained whole; only checkpoints hold it, the result of a run is a model. */
export interface FullConfig extends SavedConfig {
  readonly peftType: 'FULL';
}

const layersSchema = z.object({
  ...commonFields,
  peft_type: z.literal('LAYERS'),
  num_trainable_layers: z.number().int().min(0),
  train_norms: z.boolean(),
  train_head: z.boolean(),
});
const fullSchema = z.object({ ...commonFields, peft_type: z.literal('FULL') });

/** @throws FormatError naming the file and each wrong field. */
export function parseLayersConfig(json: unknown, name = 'adapter_config.json'): LayersConfig {
  const { num_trainable_layers, train_norms, train_head, ...fields } = parseFields(layersSchema, json, name);
  return { ...readCommon(fields), peftType: 'LAYERS', options: { num_trainable_layers, train_norms, train_head } };
}

export function serializeLayersConfig(config: LayersConfig): string {
  return serializeFields({ ...writtenCommon(config), ...config.options });
}

/** @throws FormatError naming the file and each wrong field. */
export function parseFullConfig(json: unknown, name = 'adapter_config.json'): FullConfig {
  return { ...readCommon(parseFields(fullSchema, json, name)), peftType: 'FULL' };
}

export function serializeFullConfig(config: FullConfig): string {
  return serializeFields(writtenCommon(config));
}
