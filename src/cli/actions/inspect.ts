import { ADAPTER_CONFIG } from '../../adapters/peft/files.js';
import { METHODS } from '../../adapters/registry.js';
import { ConfigError, FormatError, LowrankError } from '../../errors.js';
import type { Directory } from '../../io/directory.js';
import { readModelConfig } from '../../model/load.js';
import { fileSource, isDirectory, isFile, localDirectory, openDirectory, resolveDirectory } from '../../node.js';
import { readRunFolder } from '../../finetune/run-folder.js';
import { findBase } from '../../workspace/open-run.js';
import { formatBytes, formatCount } from '../../format.js';
import {
  inspectDirectory,
  inspectFile,
  type AdapterReport,
  type FileReport,
  type ModelReport,
  type TensorSummary,
} from '../../inspect/inspect.js';
import { tell } from '../options.js';
import { describeModel } from '../view/describe.js';
import { formatFields, formatTable } from '../view/table.js';
import { print } from '../view/terminal.js';

/** What commander gives the action. */
export interface InspectFlags {
  readonly model?: string;
  readonly tensors?: true;
  readonly json?: true;
}

type Report = FileReport | ModelReport | AdapterReport;

/**
 * Prints what a file or folder holds. An adapter is checked against its recorded base model, or that of `--model`.
 * @throws FormatError when it is broken, or does not fit the model that it is held against.
 */
export async function runInspect(path: string, flags: InspectFlags): Promise<void> {
  const report = await inspect(path, flags.model);
  print(flags.json === true ? `${JSON.stringify(report, withoutFunctions)}\n` : render(report, flags.tensors === true));
  if (report.kind === 'model' && report.broken) throw new FormatError(`${report.path}: the model cannot be loaded`);
  if (report.kind === 'adapter' && report.fit?.fits === false) {
    throw new FormatError(
      `${report.path}: the adapter does not fit ${report.fit.model}: ${report.fit.mismatches.length} mismatches`,
    );
  }
}

/** A family is known by its name; its functions have no place in JSON. */
function withoutFunctions(key: string, value: unknown): unknown {
  return key === 'family' ? (value as { modelType: string }).modelType : value;
}

async function inspect(path: string, model: string | undefined): Promise<Report> {
  if (await isFile(path)) {
    if (model !== undefined) throw new ConfigError(`${path}: --model wants an adapter directory, not a file`);
    const source = await fileSource(path);
    try {
      return await inspectFile(source);
    } finally {
      await source.close();
    }
  }
  const onMessage = tell;
  const directory = await openDirectory(path, { onMessage });
  if (model !== undefined) return inspectDirectory(directory, await openDirectory(model, { onMessage }));
  const base = await recordedBase(directory);
  const report = await inspectDirectory(directory, typeof base === 'string' ? undefined : base);
  return report.kind === 'adapter' && typeof base === 'string' ? { ...report, fit_unchecked: base } : report;
}

/**
 * The base model that the folder of an adapter names, or why it cannot be read; undefined for a folder that is no
 * adapter. A Hub model is taken from the cache only: inspecting reads headers, and should not download a model.
 */
async function recordedBase(directory: Directory): Promise<Directory | string | undefined> {
  if (!(await directory.list()).includes(ADAPTER_CONFIG)) return undefined;
  let name: string | undefined;
  try {
    const base = await findBase(await readRunFolder(directory));
    if (base === undefined) return undefined;
    const { model, revision } = base;
    name = model;
    const id = revision === undefined || revision === null ? model : `${model}@${revision}`;
    const folder = (await isDirectory(model)) ? model : id;
    const found = localDirectory(await resolveDirectory(folder, { offline: true, weights: false }));
    await readModelConfig(found);
    return found;
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error;
    if (name === undefined || (await isDirectory(name))) return error.message;
    return `${name} is neither a folder here nor in the cache of the Hub; --model ${name} downloads it`;
  }
}

function render(report: Report, allTensors: boolean): string {
  const fields: [string, string][] = [
    ['holds', { safetensors: 'tensors', model: 'a model', adapter: 'an adapter' }[report.kind]],
  ];
  if (report.kind === 'safetensors') fields.push(['size', formatBytes(report.bytes)]);
  if (report.kind === 'model') fields.push(...modelFields(report));
  if (report.kind === 'adapter') fields.push(...adapterFields(report));
  fields.push([
    'tensors',
    `${report.tensors.length} (${report.dtypes.join(', ')}), ${formatCount(report.elements)} values`,
  ]);
  for (const [key, value] of Object.entries(report.metadata)) fields.push([`metadata ${key}`, value]);
  const problems =
    report.kind === 'safetensors' ? [] : report.problems.map((problem) => `cannot be run here: ${problem}\n`);
  const fit = report.kind === 'adapter' ? renderFit(report) : '';
  const listed = allTensors || report.kind === 'safetensors' ? `\n${renderTensors(report.tensors)}` : '';
  return `${report.path}\n${formatFields(fields)}${problems.join('')}${fit}${listed}`;
}

function modelFields({ model_type: type, config, tokenizer }: ModelReport): [string, string][] {
  const chat = tokenizer?.chat_template === true ? 'with' : 'without';
  return [
    ['architecture', config === undefined ? type : describeModel(config)],
    ['tokenizer', tokenizer === undefined ? 'none' : `${tokenizer.vocab_size} tokens, ${chat} a chat template`],
  ];
}

/** Fields of adapter_config.json, whatever the method: one that only PEFT has may share some. */
const ADAPTER_FIELDS = [
  'peft_type',
  'base_model_name_or_path',
  'revision',
  ...Object.values(METHODS).flatMap(({ shownFields }): readonly string[] => shownFields),
];

function adapterFields({ config, training }: AdapterReport): [string, string][] {
  const own = ADAPTER_FIELDS.flatMap((key): [string, string][] => {
    const value = config[key];
    if (value === undefined || value === null) return [];
    return [[key, typeof value === 'string' ? value : Array.isArray(value) ? value.join(', ') : JSON.stringify(value)]];
  });
  if (training === undefined) return own;
  const { base, quantization, rows, chat_template: chat } = training;
  const options = Object.entries(rows).map(([key, value]): [string, string] => [
    `data.${key}`,
    typeof value === 'string' ? value.replaceAll('\n', '\\n') : JSON.stringify(value),
  ]);
  return [
    ...own,
    ['trained over', `${base ?? 'a model without a name'}, in ${quantization}`],
    ...options,
    ['chat template', chat],
  ];
}

function renderFit({ fit, fit_unchecked: unchecked }: AdapterReport): string {
  if (fit === undefined) return unchecked === undefined ? '' : `not checked against its base model: ${unchecked}\n`;
  if (fit.fits) return `fits ${fit.model}\n`;
  return `does not fit ${fit.model}:\n${fit.mismatches.map((line) => `  ${line}\n`).join('')}`;
}

function renderTensors(tensors: readonly TensorSummary[]): string {
  return formatTable(
    ['tensor', 'dtype', 'shape'],
    tensors.map(({ name, dtype, shape }) => [name, dtype, `[${shape.join(', ')}]`]),
  );
}
