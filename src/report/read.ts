import type * as z from 'zod';
import { ConfigError, FormatError } from '../errors.js';
import { readJson, readText, type Directory } from '../io/directory.js';
import { parseJson } from '../io/json.js';
import { yamlValues } from '../io/yaml.js';
import {
  ablationSchema,
  evalSchema,
  metricsLine,
  recordSchema,
  subspaceSchema,
  type AblationInput,
  type EvalInput,
  type MetricsLine,
  type RecordInput,
  type SubspaceInput,
} from './inputs.js';

/** A folder that `train` wrote. */
export interface TrainInputs {
  readonly kind: 'train';
  readonly metrics: readonly MetricsLine[];
  readonly record: RecordInput | undefined;
  /** As text, and as what it says. */
  readonly config: { readonly values: Readonly<Record<string, unknown>> } | undefined;
  readonly card: string | undefined;
}

/** A folder that `ablate` wrote. */
export interface AblationInputs {
  readonly kind: 'ablation';
  readonly ablation: AblationInput;
  readonly subspace: SubspaceInput | undefined;
  /** training_record.json by run, of the runs whose folders are there. */
  readonly records: Readonly<Record<string, RecordInput>>;
}

/** A folder that `eval --output` wrote. */
export interface EvalInputs {
  readonly kind: 'eval';
  readonly eval: EvalInput;
}

export type ReportInputs = TrainInputs | AblationInputs | EvalInputs;

/**
 * Finds out what a folder holds by its files, and reads them.
 * @throws ConfigError for a folder of none of these kinds; FormatError naming file and field of what is wrong.
 */
export async function readInputs(directory: Directory): Promise<ReportInputs> {
  const files = await directory.list();
  if (files.includes('ablation.json')) {
    const ablation = await readAs(directory, 'ablation.json', ablationSchema);
    const records: Record<string, RecordInput> = {};
    for (const { id } of ablation.runs) {
      // As `ablate` names them; anything else is not the folder of a run.
      if (!/^[\w+-][\w.+-]*$/.test(id)) continue;
      const record = await readIfThere(directory, `runs/${id}/training_record.json`, recordSchema);
      if (record !== undefined) records[id] = record;
    }
    return {
      kind: 'ablation',
      ablation,
      subspace: await readIfThere(directory, 'subspace.json', subspaceSchema),
      records,
    };
  }
  if (files.includes('eval.json')) return { kind: 'eval', eval: await readAs(directory, 'eval.json', evalSchema) };
  if (files.includes('metrics.jsonl')) return readTraining(directory);
  throw new ConfigError(
    `${directory.name} holds neither metrics.jsonl (lowrank train), ablation.json (lowrank ablate) nor eval.json (lowrank eval --output)`,
  );
}

async function readTraining(directory: Directory): Promise<TrainInputs> {
  const text = await readText(directory, 'config.yaml');
  return {
    kind: 'train',
    metrics: await readMetrics(directory, 'metrics.jsonl'),
    record: await readIfThere(directory, 'training_record.json', recordSchema),
    config: text === undefined ? undefined : { values: asRecord(readYaml(text, `${directory.name}/config.yaml`)) },
    card: await readText(directory, 'README.md'),
  };
}

function readYaml(text: string, name: string): unknown {
  try {
    return yamlValues(text);
  } catch (error) {
    throw new FormatError(`${name}: ${(error as Error).message}`);
  }
}

/** Lines of a log; the last may be cut short by a crash. */
async function readMetrics(directory: Directory, file: string): Promise<MetricsLine[]> {
  const lines = ((await readText(directory, file)) ?? '').split('\n');
  const whole = lines.flatMap((line, i) => {
    if (line.trim() === '' || (i === lines.length - 1 && !line.endsWith('}'))) return [];
    const name = `${directory.name}/${file}, line ${i + 1}`;
    return [check(metricsLine, parseJson(line, name), name)];
  });
  return whole;
}

async function readIfThere<T extends z.ZodType>(
  directory: Directory,
  file: string,
  schema: T,
): Promise<z.output<T> | undefined> {
  const json = await readJson(directory, file);
  return json === undefined ? undefined : check(schema, json, `${directory.name}/${file}`);
}

async function readAs<T extends z.ZodType>(directory: Directory, file: string, schema: T): Promise<z.output<T>> {
  return check(schema, await readJson(directory, file), `${directory.name}/${file}`);
}

function check<T extends z.ZodType>(schema: T, json: unknown, name: string): z.output<T> {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new FormatError(
    `${name}: ${parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'all of it'}: ${message}`).join('; ')}`,
  );
}

export function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
