import { ADAPTER_CONFIG, readAdapterConfig } from '../adapters/peft/files.js';
import { loadConfig } from '../config/load.js';
import type { RunConfig } from '../config/schema.js';
import type { RowOptions } from '../data/parts.js';
import { ConfigError, FormatError } from '../errors.js';
import { readText, type Directory } from '../io/directory.js';
import type { LoadQuantization } from '../model/load.js';
import { recordedQuantization } from '../record/quantization.js';
import { readRecord, RECORD_FILE, type TrainingRecord } from '../record/record.js';
import { checkpointStep } from '../resume/checkpoint.js';
import { INPUTS_FILE, readInputs } from '../resume/inputs.js';
import { CHAT_TEMPLATE_FILE } from '../tokenizer/model-chat-template.js';
import { baseOf, CONFIG_FILE, quantizationOf, rowOptionsOf } from './options.js';

/** The base model of a run, as the run names it. */
export interface RunBase {
  /** Folder or Hub id. */
  readonly model: string;
  readonly revision?: string | undefined;
}

/**
 * What a folder says of the training that made it: that of a run, one of its checkpoints, a run of an ablation, or a
 * PEFT adapter made elsewhere.
 */
export interface RunFolder {
  readonly directory: Directory;
  /** Undefined where the folder is a model: one that was trained whole, or one that was never trained here. */
  readonly adapter: Directory | undefined;
  /**
   * Base models by how well they are known, the best first: of config.yaml, then of adapter_config.json. Empty where
   * the folder is a model.
   */
  readonly bases: readonly RunBase[];
  /** How the base was held in training; undefined for floats, or where the folder does not say. */
  readonly quantization: LoadQuantization | undefined;
  /** SHA-256 of the base's weight files by name; undefined where the folder does not say. */
  readonly baseFiles: Readonly<Record<string, string>> | undefined;
  /** How the training rows were read. */
  readonly rows: RowOptions;
  /** A chat template that was trained with and is in no file of the folder. */
  readonly chatTemplate: string | undefined;
  /** Undefined for an adapter made elsewhere. */
  readonly config: RunConfig | undefined;
  readonly record: TrainingRecord | undefined;
}

/**
 * Reads what a folder says of its training.
 * @throws FormatError for a folder that is none of these, saying what to name instead; ConfigError for a broken
 * config.yaml.
 */
export async function readRunFolder(directory: Directory): Promise<RunFolder> {
  const files = await directory.list();
  const isAdapter = files.includes(ADAPTER_CONFIG);
  if (!isAdapter && !files.includes('config.json')) throw new FormatError(`${directory.name}: ${whatElse(files)}`);
  const config = await readOwnConfig(directory, files);
  const record = files.includes(RECORD_FILE) ? await readRecord(directory) : undefined;
  const inputs = record === undefined && files.includes(INPUTS_FILE) ? await readInputs(directory) : undefined;
  const rows = config === undefined ? {} : rowOptionsOf(config);
  return {
    ...{ directory, config, record, rows },
    adapter: isAdapter ? directory : undefined,
    bases: isAdapter ? await basesOf(directory, config) : [],
    quantization: !isAdapter ? undefined : config === undefined ? recordedQuantization(record) : quantizationOf(config),
    baseFiles: isAdapter ? (record?.base.files ?? weightFiles(inputs?.files['base model'])) : undefined,
    chatTemplate: files.includes(CHAT_TEMPLATE_FILE) ? undefined : rows.chat_template,
  };
}

/** config.yaml where lowrank wrote it. Other tools have files of that name too. */
async function readOwnConfig(directory: Directory, files: readonly string[]): Promise<RunConfig | undefined> {
  const text = await readText(directory, CONFIG_FILE);
  if (text === undefined) return undefined;
  const name = `${directory.name}/${CONFIG_FILE}`;
  try {
    return loadConfig(text, name, [], { file: directory.name });
  } catch (error) {
    if (error instanceof ConfigError && !files.includes(RECORD_FILE) && !files.includes(INPUTS_FILE)) return undefined;
    throw error;
  }
}

async function basesOf(directory: Directory, config: RunConfig | undefined): Promise<RunBase[]> {
  const { baseModel, revision } = await readAdapterConfig(directory);
  const named = baseModel === undefined || baseModel === '' ? [] : [{ model: baseModel, revision }];
  return config === undefined ? named : [baseOf(config), ...named.filter(({ model }) => model !== config.model)];
}

function weightFiles(files: Readonly<Record<string, string>> | undefined): Record<string, string> | undefined {
  return files === undefined
    ? undefined
    : Object.fromEntries(Object.entries(files).filter(([name]) => name.endsWith('.safetensors')));
}

function whatElse(files: readonly string[]): string {
  const folders = [
    ...new Set(
      files
        .filter((file) => file.endsWith(`/${ADAPTER_CONFIG}`))
        .map((file) => file.slice(0, -ADAPTER_CONFIG.length - 1)),
    ),
  ];
  const steps = folders.flatMap((folder) => checkpointStep(folder) ?? []).sort((a, b) => b - a);
  if (steps.length > 0)
    return `the run in it is not finished: name a checkpoint, such as checkpoint-${steps[0]}, or go on with \`lowrank train --resume\``;
  if (folders.length > 0) return `holds ${folders.length} runs: name one of them, such as ${folders[0]}`;
  return files.length === 0
    ? 'no such folder, or an empty one'
    : `neither a run nor a model: there is no ${ADAPTER_CONFIG} and no config.json in it`;
}
