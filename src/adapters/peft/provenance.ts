import { FormatError } from '../../errors.js';
import { isRecord, parseJson } from '../../io/json.js';
import type { LoraConfig } from '../lora/config.js';

/** Key in the metadata of adapter_model.safetensors, which PEFT passes over. */
const KEY = 'lowrank_init';

type Json = Readonly<Record<string, unknown>>;

/**
 * What adapter_config.json cannot say. PEFT takes `init_lora_weights: loftq` for an order to quantise the base once
 * more on every load, and needs bitsandbytes for it; so the file says `true`, and that these values belong on a base
 * which LoftQ has made stands here.
 */
export function provenanceOf(config: LoraConfig): Record<string, string> {
  if (config.initLoraWeights !== 'loftq') return {};
  return { [KEY]: JSON.stringify({ init_lora_weights: 'loftq', loftq_config: config.loftqConfig }) };
}

/**
 * adapter_config.json with what the metadata of the weights say besides. @throws FormatError for a note that is none
 */
export function withProvenance(json: Json, metadata: Readonly<Record<string, string>> | undefined, name: string): Json {
  const note = metadata?.[KEY];
  if (note === undefined || json['peft_type'] !== 'LORA') return json;
  const found = parseJson(note, `${name}: metadata: ${KEY}`);
  if (
    !isRecord(found) ||
    found['init_lora_weights'] !== 'loftq' ||
    Object.keys(found).some((key) => key !== 'init_lora_weights' && key !== 'loftq_config')
  ) {
    throw new FormatError(
      `${name}: metadata: ${KEY}: found ${note}, allowed an object with init_lora_weights "loftq" and loftq_config`,
    );
  }
  return { ...json, ...found };
}
