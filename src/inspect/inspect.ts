import { canonicalKeys } from '../adapters/peft/module-keys.js';
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from '../adapters/peft/files.js';
import { definitionOf, methodOf, parseAdapterConfig } from '../adapters/registry.js';
import type { RowOptions } from '../data/parts.js';
import { FormatError, LowrankError } from '../errors.js';
import { CHECKPOINT_FILE, CHECKPOINT_INDEX, openCheckpoint } from '../io/weights-file.js';
import { readJson, type Directory } from '../io/directory.js';
import { isRecord } from '../io/json.js';
import { SafetensorsFile } from '../io/safetensors.js';
import type { ByteSource } from '../io/source.js';
import { parseModelConfig, type ModelConfig } from '../model/config.js';
import { isModelType } from '../model/families/registry.js';
import { readModelConfig } from '../model/load.js';
import { resolveNames } from '../model/tensors.js';
import { readRunFolder } from '../finetune/run-folder.js';
import { modelChatTemplate } from '../tokenizer/model-chat-template.js';
import { loadTokenizer } from '../tokenizer/tokenizer.js';

/** A tensor as its file lists it. */
export interface TensorSummary {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

interface Tensors {
  readonly tensors: readonly TensorSummary[];
  /** Elements of all tensors; of 4-bit weights the bytes that hold two each. */
  readonly elements: number;
  readonly dtypes: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}

export interface FileReport extends Tensors {
  readonly kind: 'safetensors';
  readonly path: string;
  readonly bytes: number;
}

export interface ModelReport extends Tensors {
  readonly kind: 'model';
  readonly path: string;
  readonly model_type: string;
  /** Undefined where this package does not know the family. */
  readonly config: ModelConfig | undefined;
  readonly tokenizer: { readonly vocab_size: number; readonly chat_template: boolean } | undefined;
  /** Why the model cannot be loaded; empty when it can. */
  readonly problems: readonly string[];
  /** The files contradict each other, which is more than a model of a kind that is not known here. */
  readonly broken: boolean;
}

export interface AdapterReport extends Tensors {
  readonly kind: 'adapter';
  readonly path: string;
  /** adapter_config.json as found. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Why this package cannot run the adapter, whatever the model; empty when it can. */
  readonly problems: readonly string[];
  /** What the training says of itself; undefined for an adapter made elsewhere. */
  readonly training: TrainingReport | undefined;
  /** Whether it fits its recorded base model, or the one that was named. */
  readonly fit: { readonly model: string; readonly fits: boolean; readonly mismatches: readonly string[] } | undefined;
  /** Why `fit` is undefined: its base model is not there, or cannot be read. */
  readonly fit_unchecked?: string;
}

/** How an adapter was trained, and so how it is used. */
export interface TrainingReport {
  /** Folder or Hub id. */
  readonly base: string | undefined;
  /** How the base was held: `floats`, or the type of its 4 bits. */
  readonly quantization: string;
  /** Options of how the rows were read, as in a config; the chat template is left out. */
  readonly rows: RowOptions;
  /** Where the chat template comes from: `none`, `saved` with the adapter. */
  readonly chat_template: 'none' | 'saved';
}

/** @throws FormatError when the header is broken. */
export async function inspectFile(source: ByteSource): Promise<FileReport> {
  return {
    kind: 'safetensors',
    path: source.name,
    bytes: source.size,
    ...summarize(await SafetensorsFile.open(source)),
  };
}

/**
 * What a model or adapter directory holds, from its headers alone.
 * @param model a model that the adapter is held against.
 * @throws FormatError when it is neither, or a file is broken.
 */
export async function inspectDirectory(directory: Directory, model?: Directory): Promise<ModelReport | AdapterReport> {
  const files = await directory.list();
  if (files.includes(ADAPTER_CONFIG)) return inspectAdapter(directory, model);
  if (model !== undefined)
    throw new FormatError(`${directory.name}: no ${ADAPTER_CONFIG}: only an adapter is held against a model`);
  if (files.includes('config.json')) return inspectModel(directory);
  const hint = [CHECKPOINT_FILE, CHECKPOINT_INDEX, ADAPTER_WEIGHTS].filter((file) => files.includes(file));
  throw new FormatError(
    `${directory.name}: neither a model (config.json) nor an adapter (${ADAPTER_CONFIG})${hint.length > 0 ? `, though it holds ${hint.join(', ')}` : ''}`,
  );
}

async function inspectModel(directory: Directory): Promise<ModelReport> {
  const json = await readJson(directory, 'config.json');
  const modelType = isRecord(json) && typeof json['model_type'] === 'string' ? json['model_type'] : 'unknown';
  const checkpoint = await openCheckpoint(directory);
  try {
    const tensors = checkpoint.names().map((name) => ({ name, ...checkpoint.info(name) }));
    const problems: string[] = [];
    const config = collect(problems, () => parseModelConfig(json, `${directory.name}/config.json`));
    if (config !== undefined) collect(problems, () => resolveNames(config, checkpoint));
    const tokenizer = await loadTokenizer(directory);
    return {
      kind: 'model',
      path: directory.name,
      model_type: modelType,
      config,
      tokenizer:
        tokenizer === undefined
          ? undefined
          : { vocab_size: tokenizer.vocabSize, chat_template: tokenizer.chatTemplate !== undefined },
      problems,
      broken: problems.length > 0 && isModelType(modelType),
      ...total(tensors, checkpoint.metadata),
    };
  } finally {
    await checkpoint.close();
  }
}

async function inspectAdapter(directory: Directory, model: Directory | undefined): Promise<AdapterReport> {
  const name = `${directory.name}/${ADAPTER_CONFIG}`;
  const json = await readJson(directory, ADAPTER_CONFIG);
  if (!isRecord(json)) throw new FormatError(`${name}: must be a JSON object`);
  const source = await directory.open(ADAPTER_WEIGHTS);
  if (source === undefined) throw new FormatError(`${directory.name}: no ${ADAPTER_WEIGHTS}`);
  try {
    const file = await SafetensorsFile.open(source);
    const problems: string[] = [];
    const config = collect(problems, () => parseAdapterConfig(json, name));
    let fit: AdapterReport['fit'];
    if (model !== undefined) {
      const mismatches = [...problems];
      const base = await readModelConfig(model);
      if (config !== undefined)
        mismatches.push(
          ...(collect(mismatches, () =>
            definitionOf(methodOf(config)).mismatches(
              base,
              config,
              canonicalKeys(file.tensors, `${directory.name}/${ADAPTER_WEIGHTS}`),
            ),
          ) ?? []),
        );
      fit = { model: model.name, fits: mismatches.length === 0, mismatches };
    }
    return {
      kind: 'adapter',
      path: directory.name,
      config: json,
      problems,
      training: await trainingOf(directory),
      fit,
      ...summarize(file),
    };
  } finally {
    await source.close();
  }
}

async function trainingOf(directory: Directory): Promise<TrainingReport | undefined> {
  const run = await readRunFolder(directory).catch((error: unknown) => {
    if (error instanceof LowrankError) return undefined;
    throw error;
  });
  if (run === undefined || (run.config === undefined && run.record === undefined)) return undefined;
  const { chat_template: _template, ...rows } = run.rows;
  const saved = (await modelChatTemplate(directory)) !== undefined || run.chatTemplate !== undefined;
  return {
    base: run.bases[0]?.model,
    quantization: run.quantization?.quantType ?? 'floats',
    rows,
    chat_template: saved ? 'saved' : 'none',
  };
}

/** The outcome, or undefined with what was wrong among the problems. */
function collect<T>(problems: string[], work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error;
    problems.push(error.message);
    return undefined;
  }
}

function summarize(file: SafetensorsFile): Tensors {
  return total(
    [...file.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape })),
    file.metadata,
  );
}

function total(tensors: readonly TensorSummary[], metadata: Readonly<Record<string, string>>): Tensors {
  const elements = tensors.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  return { tensors, elements, dtypes: [...new Set(tensors.map(({ dtype }) => dtype))].sort(), metadata };
}
