import { FormatError } from '../errors.js';
import { readJson, type Directory } from '../io/directory.js';
import { encodeSafetensors, float32Tensor, SafetensorsFile, type TensorBytes } from '../io/safetensors.js';
import type { Decoder } from '../model/decoder.js';
import type { Adapter } from './adapter.js';
import { parsePeftConfig, serializePeftConfig, type PeftConfig } from './peft-config.js';
import { METHODS } from './registry.js';

export const ADAPTER_CONFIG = 'adapter_config.json';
export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';

/** A PEFT adapter directory, read but not yet on a model. */
export interface AdapterFiles {
  readonly config: PeftConfig;
  readonly tensors: ReadonlyMap<string, TensorBytes>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** @throws FormatError when a file is missing, broken, or asks for what this package does not do. */
export async function readAdapter(directory: Directory): Promise<AdapterFiles> {
  const json = await readJson(directory, ADAPTER_CONFIG);
  if (json === undefined) throw new FormatError(`${directory.name}: no ${ADAPTER_CONFIG}: not a PEFT adapter directory`);
  const config = parsePeftConfig(json, `${directory.name}/${ADAPTER_CONFIG}`);
  const source = await directory.open(ADAPTER_WEIGHTS);
  if (source === undefined) throw new FormatError(`${directory.name}: no ${ADAPTER_WEIGHTS}`);
  try {
    const file = await SafetensorsFile.open(source);
    const tensors = new Map<string, TensorBytes>();
    for (const key of file.tensors.keys()) tensors.set(key, await file.read(key));
    return { config, tensors, metadata: file.metadata };
  } finally {
    await source.close();
  }
}

/** Puts a saved adapter on a decoder. @throws FormatError listing everything that does not fit. */
export async function loadAdapter(decoder: Decoder, directory: Directory, options: { dropout?: number } = {}): Promise<Adapter> {
  const { config, tensors } = await readAdapter(directory);
  return METHODS.lora.load(decoder, config, tensors, directory.name, options);
}

/**
 * The two files of a PEFT adapter directory, by name.
 * @throws FormatError when a value is NaN or infinite: such an adapter is never written.
 */
export async function adapterFiles(adapter: Adapter, base: { model?: string; revision?: string } = {}): Promise<Record<string, Uint8Array | string>> {
  const tensors = new Map<string, TensorBytes>();
  for (const { key, variable } of adapter.parameters) {
    const values = await variable.data<'float32'>();
    if (!values.every(Number.isFinite)) throw new FormatError(`${key} holds a value that is not finite; the adapter is not saved`);
    tensors.set(key, float32Tensor(variable.shape, values));
  }
  const config: PeftConfig = { ...adapter.config, baseModel: base.model ?? adapter.config.baseModel, revision: base.revision ?? adapter.config.revision };
  return { [ADAPTER_CONFIG]: serializePeftConfig(config), [ADAPTER_WEIGHTS]: encodeSafetensors(tensors, { format: 'pt' }) };
}
