import { FormatError } from '../../errors.js';
import { readJson, type Directory } from '../../io/directory.js';
import { isRecord } from '../../io/json.js';
import { encodeSafetensors, SafetensorsFile, type TensorBytes } from '../../io/safetensors.js';
import type { Decoder } from '../../model/decoder.js';
import type { Adapter, AdapterLoadOptions, SavedConfig } from '../adapter.js';
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, readPeftAdapter } from './document.js';
import { withProvenance } from './provenance.js';
import { definitionOf, methodOf, parseAdapterConfig, type AdapterConfig } from '../registry.js';
import { trainedValues } from './tensors.js';

export { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from './document.js';

/** A PEFT adapter directory, read but not yet on a model. */
export interface AdapterFiles {
  readonly config: AdapterConfig;
  readonly tensors: ReadonlyMap<string, TensorBytes>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** @throws FormatError when a file is missing, broken, or asks for what this package does not do. */
export async function readAdapter(directory: Directory): Promise<AdapterFiles> {
  const { json, tensors, metadata } = await readPeftAdapter(directory);
  const meant = withProvenance(json, metadata, `${directory.name}/${ADAPTER_WEIGHTS}`);
  return {
    config: parseAdapterConfig(meant, `${directory.name}/${ADAPTER_CONFIG}`),
    tensors,
    metadata: metadata ?? {},
  };
}

/** What a saved adapter is, without its tensors. @throws FormatError as reading all of it does. */
export async function readAdapterConfig(directory: Directory): Promise<AdapterConfig> {
  const json = await readJson(directory, ADAPTER_CONFIG);
  if (json === undefined)
    throw new FormatError(`${directory.name}: no ${ADAPTER_CONFIG}: not a PEFT adapter directory`);
  const source = isRecord(json) ? await directory.open(ADAPTER_WEIGHTS) : undefined;
  try {
    const metadata = source === undefined ? undefined : (await SafetensorsFile.open(source)).metadata;
    return parseAdapterConfig(
      isRecord(json) ? withProvenance(json, metadata, `${directory.name}/${ADAPTER_WEIGHTS}`) : json,
      `${directory.name}/${ADAPTER_CONFIG}`,
    );
  } finally {
    await source?.close();
  }
}

/** Puts an adapter that was read on a decoder. @throws FormatError listing everything that does not fit. */
export async function putAdapter(
  decoder: Decoder,
  { config, tensors }: AdapterFiles,
  name: string,
  options: AdapterLoadOptions = {},
): Promise<Adapter> {
  return definitionOf(methodOf(config)).load(decoder, config, tensors, name, options);
}

/** Puts a saved adapter on a decoder. @throws FormatError listing everything that does not fit. */
export async function loadAdapter(
  decoder: Decoder,
  directory: Directory,
  options: AdapterLoadOptions = {},
): Promise<Adapter> {
  return putAdapter(decoder, await readAdapter(directory), directory.name, options);
}

/**
 * The two files of a PEFT adapter directory, by name.
 * @throws FormatError when a value is NaN or infinite: such an adapter is never written.
 */
export async function adapterFiles(
  adapter: Adapter,
  base: { model?: string; revision?: string } = {},
): Promise<Record<string, Uint8Array | string>> {
  const tensors = await trainedValues(adapter);
  const config: SavedConfig = {
    ...adapter.config,
    baseModel: base.model ?? adapter.config.baseModel,
    revision: base.revision ?? adapter.config.revision,
  };
  const definition = definitionOf(methodOf(config));
  return {
    [ADAPTER_CONFIG]: definition.serializeConfig(config),
    [ADAPTER_WEIGHTS]: encodeSafetensors(tensors, { format: 'pt', ...definition.metadata?.(config) }),
  };
}
