import { FormatError } from '../../errors.js';
import { readText, type Directory } from '../../io/directory.js';
import { editJson } from '../../io/json-edit.js';
import { isRecord, parseJson } from '../../io/json.js';
import { encodeSafetensors, SafetensorsFile, type TensorBytes } from '../../io/safetensors.js';
import { canonicalKeys } from './module-keys.js';
import { parseLoraFields, type LoraConfig } from '../lora/config.js';
import { withProvenance } from './provenance.js';

export const ADAPTER_CONFIG = 'adapter_config.json';
export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';

/**
 * A PEFT adapter directory as it is, of any method and for any base model: nothing is converted but keys that a wrapper
 * has changed (see module-keys.ts), unknown settings are kept, and tensors keep their dtype. Written back unchanged,
 * both files are byte for byte what was read.
 */
export interface PeftAdapter {
  /** Of the directory, for messages. */
  readonly name: string;
  /** adapter_config.json as text; `json` is what it says. */
  readonly configText: string;
  readonly json: Readonly<Record<string, unknown>>;
  /** Undefined when `peft_type` is not LORA. */
  readonly config: LoraConfig | undefined;
  readonly tensors: ReadonlyMap<string, TensorBytes>;
  /** `__metadata__` of the safetensors file; undefined when it has none. */
  readonly metadata: Readonly<Record<string, string>> | undefined;
}

/** @throws FormatError when a file is missing or broken. */
export async function readPeftAdapter(directory: Directory): Promise<PeftAdapter> {
  const configText = await readText(directory, ADAPTER_CONFIG);
  if (configText === undefined)
    throw new FormatError(`${directory.name}: no ${ADAPTER_CONFIG}: not a PEFT adapter directory`);
  const name = `${directory.name}/${ADAPTER_CONFIG}`;
  const json = parseJson(configText, name);
  if (!isRecord(json)) throw new FormatError(`${name}: must be a JSON object`);
  const source = await directory.open(ADAPTER_WEIGHTS);
  if (source === undefined) throw new FormatError(`${directory.name}: no ${ADAPTER_WEIGHTS}`);
  try {
    const file = await SafetensorsFile.open(source);
    const tensors = new Map<string, TensorBytes>();
    for (const key of file.tensors.keys()) tensors.set(key, await file.read(key));
    const config =
      json['peft_type'] === 'LORA'
        ? parseLoraFields(withProvenance(json, file.metadata, `${directory.name}/${ADAPTER_WEIGHTS}`), name)
        : undefined;
    return {
      name: directory.name,
      configText,
      json,
      config,
      tensors: canonicalKeys(tensors, `${directory.name}/${ADAPTER_WEIGHTS}`),
      metadata: Object.keys(file.metadata).length === 0 ? undefined : file.metadata,
    };
  } finally {
    await source.close();
  }
}

/**
 * The adapter with settings replaced (undefined removes one) and, if given, other tensors. @throws FormatError as
 * reading does.
 */
export function changePeftAdapter(
  adapter: PeftAdapter,
  settings: Readonly<Record<string, unknown>>,
  tensors: ReadonlyMap<string, TensorBytes> = adapter.tensors,
): PeftAdapter {
  const name = `${adapter.name}/${ADAPTER_CONFIG}`;
  const configText = editJson(adapter.configText, settings, name);
  const json = parseJson(configText, name) as Record<string, unknown>;
  const config =
    json['peft_type'] === 'LORA'
      ? parseLoraFields(withProvenance(json, adapter.metadata, `${adapter.name}/${ADAPTER_WEIGHTS}`), name)
      : undefined;
  return { ...adapter, configText, json, config, tensors };
}

/** The two files of the directory, by name. */
export function peftAdapterFiles(
  adapter: PeftAdapter,
): Record<typeof ADAPTER_CONFIG | typeof ADAPTER_WEIGHTS, string | Uint8Array> {
  return {
    [ADAPTER_CONFIG]: adapter.configText,
    [ADAPTER_WEIGHTS]: encodeSafetensors(adapter.tensors, adapter.metadata),
  };
}
