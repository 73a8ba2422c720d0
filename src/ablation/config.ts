import * as z from 'zod';
import { parseConfigDocument } from '../config/document.js';
import { allOptions } from '../config/options.js';
import { folderOf, joinPath } from '../config/paths.js';
import { ConfigError } from '../errors.js';

const text = () => z.string().min(1);
const oneOrMore = <T extends z.ZodType>(value: T) => z.union([value, z.array(value).min(1)]);

/** What runs may differ in; every value is checked once more where it becomes an option of a run. */
const factors = {
  /** Rank: `adapter.r`. */
  r: z.int().min(1),
  /** `adapter.lora_alpha`: a number, or one that follows the rank: `2r`, `sqrt` (√r), `8sqrt` (8·√r). */
  lora_alpha: z.union([z.number().gt(0), z.string().regex(/^(?:\d+(?:\.\d*)?|\.\d*)?(?:r|sqrt)$/)]),
  target_modules: z.union([text(), z.array(text()).min(1)]),
  use_rslora: z.boolean(),
  use_dora: z.boolean(),
  /** Options of the base that belong to another method are left out. */
  method: text(),
  /** How the base model is held. */
  quantization: z.enum(['none', 'nf4', 'fp4']),
  learning_rate: z.number().gt(0),
  /** `data.max_train_samples`. */
  train_rows: z.int().min(1),
};

type FactorName = keyof typeof factors;
/** In the order of names and tables. */
export const FACTORS = Object.keys(factors) as readonly FactorName[];

/** Beside the factors any option of a run, by its dotted name: `training.warmup_steps`. */
const settings = z.partialRecord(text(), z.unknown()).superRefine((given, context) => {
  for (const [name, value] of Object.entries(given)) checkFactor(name, value, context);
});

/** Each factor with the values that it takes. */
const grid = z.partialRecord(text(), z.unknown()).superRefine((given, context) => {
  for (const [name, values] of Object.entries(given)) {
    if (Array.isArray(values) && values.length === 0)
      context.addIssue({ code: 'custom', path: [name], message: 'an empty list' });
    for (const value of listOf(values)) checkFactor(name, value, context);
  }
});

const schema = z.strictObject({
  /** The run that all others are made from: a config, or the path of one. */
  base: z.union([text(), z.record(z.string(), z.unknown())]),
  /** Options of the base that are otherwise in all runs, in sections as in its config. */
  overrides: z.record(z.string(), z.unknown()).exactOptional(),
  /** All combinations of these values. */
  grid: grid.exactOptional(),
  /** Settings one by one, beside those of the grid. */
  runs: z.array(settings).min(1).exactOptional(),
  /** Each setting is run with each of them; the base's seed where absent. */
  seeds: z.array(z.int().min(0)).min(1).exactOptional(),
  /** File of evaluation tasks for every trained model, and for the base model. */
  tasks: text().exactOptional(),
  /** Folder of the data files that the tasks name, where it is not that of the task file. */
  tasks_data: text().exactOptional(),
  /** Rows of what the base model can do: how much their loss rises is what was forgotten. */
  retain: oneOrMore(text()).exactOptional(),
  output_dir: text(),
});

export type Settings = Readonly<Record<string, unknown>>;

/** A file that describes an ablation, with its paths resolved. */
export interface AblationConfig {
  /** Path, or the text of a config whose paths start from the folder of the file. */
  readonly base: { readonly path: string } | { readonly text: string };
  readonly overrides: Settings;
  /** What the runs differ in, without seeds. */
  readonly settings: readonly Settings[];
  readonly seeds: readonly number[] | undefined;
  readonly tasks: string | undefined;
  readonly tasksData: string | undefined;
  readonly retain: readonly string[];
  readonly outputDir: string;
  /** Where the paths of `overrides` and of an inline base start from. */
  readonly folder: string;
}

/**
 * Parses an ablation file (YAML or JSON).
 * @param folder where its relative paths start from; the folder of `fileName` unless given.
 * @throws ConfigError with the place of every problem.
 */
export function parseAblation(source: string, fileName: string, folder = folderOf(fileName)): AblationConfig {
  const document = parseConfigDocument(source, fileName);
  const parsed = schema.safeParse(document.values ?? {});
  const problems = (parsed.error?.issues ?? []).flatMap(({ path, message }) => {
    const keys = path.map((key) => (typeof key === 'symbol' ? String(key) : key));
    return [`${document.locate(keys)}: ${keys.join('.') || 'the file'}: ${message}`];
  });
  if (parsed.success && parsed.data.grid === undefined && parsed.data.runs === undefined)
    problems.push(`${fileName}: neither grid nor runs: nothing to compare`);
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems.join('\n'));
  const { base, overrides = {}, seeds, tasks, tasks_data: tasksData, retain, output_dir: outputDir } = parsed.data;
  const absolute = (path: string): string => joinPath(folder, path);
  return {
    base: typeof base === 'string' ? { path: absolute(base) } : { text: JSON.stringify(base) },
    overrides,
    settings: [...(parsed.data.grid === undefined ? [] : product(parsed.data.grid)), ...(parsed.data.runs ?? [])],
    seeds,
    tasks: tasks === undefined ? undefined : absolute(tasks),
    tasksData: tasksData === undefined ? undefined : absolute(tasksData),
    retain: listOf(retain ?? []).map(absolute),
    outputDir: absolute(outputDir),
    folder,
  };
}

/** Every combination of the values, the last factor varying fastest. */
export function product(values: Settings): Settings[] {
  return Object.entries(values).reduce<Settings[]>(
    (cells, [name, list]) => cells.flatMap((cell) => listOf(list).map((value) => ({ ...cell, [name]: value }))),
    [{}],
  );
}

function listOf<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? (value as readonly T[]) : [value as T];
}

function checkFactor(name: string, value: unknown, context: z.RefinementCtx): void {
  const add = (message: string): void => context.addIssue({ code: 'custom', path: [name], message });
  if (Object.hasOwn(factors, name)) {
    const { error } = factors[name as FactorName].safeParse(value);
    if (error !== undefined) add(`${JSON.stringify(value)}: ${error.issues.map((issue) => issue.message).join(', ')}`);
  } else if (name === 'training.seed') {
    add('belongs in seeds');
  } else if (!allOptions.some((option) => option.path === name)) {
    add(`neither a factor (${FACTORS.join(', ')}) nor an option of a run`);
  }
}
