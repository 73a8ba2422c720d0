import { combineAdapters, type CombinationType } from '../../adapters/lora/combine.js';
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, readAdapter } from '../../adapters/peft/files.js';
import { serializeLoraConfig, type LoraConfig } from '../../adapters/lora/config.js';
import { ConfigError } from '../../errors.js';
import { encodeSafetensors } from '../../io/safetensors.js';
import { openDirectory } from '../../node.js';
import { planExport } from '../../workspace/export/export-output.js';
import { tell } from '../options.js';
import { printWritten } from '../view/written-files.js';

/** What commander gives the action. */
export interface CombineFlags {
  readonly output: string;
  readonly weights?: readonly number[];
  readonly type: CombinationType;
  readonly rank?: number;
  readonly overwrite?: true;
}

/** Writes the adapter that several add up to. */
export async function runCombine(
  paths: readonly string[],
  { output, weights, type, rank, overwrite }: CombineFlags,
): Promise<void> {
  if (weights !== undefined && weights.length !== paths.length)
    throw new ConfigError(`--weights: ${weights.length} numbers for ${paths.length} adapters`);
  if (rank !== undefined && type !== 'svd')
    throw new ConfigError(`--rank belongs to --type svd; ${type} has the rank that it has`);
  const folders = await Promise.all(paths.map((path) => openDirectory(path, { onMessage: tell })));
  const planned = await planExport(output, {
    overwrite: overwrite === true,
    inputs: folders.map(({ name }) => name),
    onMessage: tell,
    onWritten: printWritten,
  });
  const parts = await Promise.all(
    folders.map(async (folder, i) => ({
      name: paths[i] as string,
      weight: weights?.[i] ?? 1,
      files: await readAdapter(folder),
    })),
  );
  const bases = new Set(parts.map(({ files }) => files.config.baseModel));
  if (bases.size > 1)
    tell(`note: the adapters name different bases: ${[...bases].map((base) => base ?? 'none').join(', ')}`);
  const { config, tensors, metadata } = combineAdapters(parts, { type, rank });
  await planned.write([
    { path: ADAPTER_CONFIG, content: serializeLoraConfig(config as LoraConfig) },
    { path: ADAPTER_WEIGHTS, content: encodeSafetensors(tensors, { ...metadata }) },
  ]);
}
