import { parseConfigDocument } from '../config/document.js';
import { loadConfig } from '../config/load.js';
import { otherMethodsWithOption } from '../adapters/options.js';
import { isSection, parseOverride, valueAt, withValue } from '../config/overrides.js';
import { folderOf, joinPath, resolvePaths } from '../config/paths.js';
import type { RunConfig } from '../config/schema.js';
import { ConfigError } from '../errors.js';
import { FACTORS, type AblationConfig, type Settings } from './config.js';

/** A run of an ablation. */
export interface AblationRun {
  /** Made of settings and seed alone: the same in every ablation that has this run. Name of its folder. */
  readonly id: string;
  /** As written in the ablation's file. */
  readonly settings: Settings;
  readonly seed: number;
  readonly config: RunConfig;
}

export interface PlanOptions {
  /** Reads the file of the base's config. */
  readonly readText: (path: string) => Promise<string>;
  /** `option=value` for all runs, above all else but what they differ in. Paths start from `folder`. */
  readonly set?: readonly string[];
  readonly folder?: string;
}

/** Name of the folder of runs in the output folder. */
export const RUNS_FOLDER = 'runs';

/**
 * The runs of an ablation in the order of the file, the seeds of a setting together.
 * @throws ConfigError naming the run whose config is wrong, and runs that are the same.
 */
export async function planRuns(
  ablation: AblationConfig,
  { readText, set = [], folder = '' }: PlanOptions,
): Promise<AblationRun[]> {
  const { base } = ablation;
  const [text, name, from] =
    'text' in base ? [base.text, 'base', ablation.folder] : [await readText(base.path), base.path, folderOf(base.path)];
  const shared = [
    `training.output_dir=${JSON.stringify(ablation.outputDir)}`,
    ...absolute(overridesOf(ablation.overrides), ablation.folder),
    ...absolute(set, folder),
  ];
  const load = (overrides: readonly string[]): RunConfig =>
    loadConfig(text, name, [...shared, ...overrides], { file: from });
  const base0 = load([]);
  if (base0.data.validation === undefined && base0.data.validation_split === undefined)
    throw new ConfigError(
      `${name}: an ablation compares validation losses: data.validation or data.validation_split is needed`,
    );
  const given = valueAt(parseConfigDocument(text, name).values, ['adapter']);
  const written = new Set([
    ...Object.keys(isSection(given) ? given : {}),
    ...Object.keys(isSection(ablation.overrides['adapter']) ? ablation.overrides['adapter'] : {}),
  ]);
  const runs = ablation.settings.flatMap((settings) =>
    (ablation.seeds ?? [base0.training.seed]).map((seed): AblationRun => {
      const id = runName(settings, seed);
      const overrides = [
        ...foreignOptions(settings, written),
        ...optionsOf(settings, base0),
        `training.seed=${seed}`,
        `training.output_dir=${JSON.stringify(joinPath(ablation.outputDir, `${RUNS_FOLDER}/${id}`))}`,
        ...(base0.training.logging_dir === undefined
          ? []
          : [`training.logging_dir=${JSON.stringify(joinPath(base0.training.logging_dir, id))}`]),
        'training.overwrite_output_dir=true',
        'training.resume_from_checkpoint=false',
        ...(base0.training.save_total_limit === undefined ? ['training.save_total_limit=1'] : []),
      ];
      try {
        return { id, settings, seed, config: load(overrides) };
      } catch (error) {
        if (error instanceof ConfigError) throw new ConfigError(`run ${id}: ${error.message}`);
        throw error;
      }
    }),
  );
  requireDistinct(runs);
  return runs;
}

/** Equal for equal settings, in whatever order they are written. */
export function settingsKey(settings: Settings): string {
  return JSON.stringify(namedSettings(settings));
}

/** `r=8, lora_alpha=2r`; empty for the base itself. */
export function describeSettings(settings: Settings): string {
  return namedSettings(settings)
    .map(([name, value]) => `${name}=${valueText(value)}`)
    .join(', ');
}

/** lora_alpha of a rank: a number, `2r` or `8sqrt` (8·√r). */
export function alphaOf(written: unknown, rank: number): number {
  if (typeof written === 'number') return written;
  const [, factor = '', kind] = /^([\d.]*)(r|sqrt)$/.exec(String(written)) ?? [];
  return (factor === '' ? 1 : Number(factor)) * (kind === 'r' ? rank : Math.sqrt(rank));
}

/** The settings as `option=value` of the run's config. */
function optionsOf(settings: Settings, base: RunConfig): string[] {
  const rank = typeof settings['r'] === 'number' ? settings['r'] : base.adapter.r;
  return Object.entries(settings).flatMap(([name, value]): string[] => {
    switch (name) {
      case 'lora_alpha':
        return [`adapter.lora_alpha=${alphaOf(value, rank)}`];
      case 'quantization':
        return value === 'none'
          ? ['quantization.load_in_4bit=false']
          : ['quantization.load_in_4bit=true', `quantization.bnb_4bit_quant_type=${String(value)}`];
      case 'learning_rate':
        return [`training.learning_rate=${String(value)}`];
      case 'train_rows':
        return [`data.max_train_samples=${String(value)}`];
      default:
        return [`${name.includes('.') ? name : `adapter.${name}`}=${JSON.stringify(value)}`];
    }
  });
}

/** Takes away options of the base that another method would refuse. */
function foreignOptions({ method }: Settings, written: ReadonlySet<string>): string[] {
  if (method === undefined) return [];
  return [...written]
    .filter((option) => otherMethodsWithOption(option, method) !== undefined)
    .map((option) => `adapter.${option}=null`);
}

/** Sections as `section.option=value`. */
function overridesOf(values: Settings, path: readonly string[] = []): string[] {
  return Object.entries(values).flatMap(([key, value]) =>
    isSection(value) && path.length === 0
      ? overridesOf(value, [key])
      : [`${[...path, key].join('.')}=${JSON.stringify(value)}`],
  );
}

/** Options with their paths resolved. */
function absolute(lines: readonly string[], folder: string): string[] {
  return lines.map((line) => {
    const { path, value } = parseOverride(line);
    return `${path.join('.')}=${JSON.stringify(valueAt(resolvePaths(withValue({}, path, value), folder), path))}`;
  });
}

function namedSettings(settings: Settings): (readonly [string, unknown])[] {
  const place = (name: string): number => (FACTORS as readonly string[]).indexOf(name) + 1 || FACTORS.length + 1;
  return Object.entries(settings).sort(([a], [b]) => place(a) - place(b) || (a < b ? -1 : 1));
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return value.map(valueText).join('+');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

const LONGEST_NAME = 120;

/** Fit for a folder's name. */
function runName(settings: Settings, seed: number): string {
  const parts = namedSettings(settings).map(([name, value]) => `${name}-${valueText(value)}`);
  const name = [...parts, `seed-${seed}`].join('_').replace(/[^\w.+-]/g, '-');
  return name.length <= LONGEST_NAME ? name : `${name.slice(0, LONGEST_NAME - 9)}-${shortHash(name)}`;
}

/** FNV-1a: to tell names apart, not to protect anything. */
export function shortHash(value: string): string {
  let hash = 0x811c9dc5;
  for (const char of new TextEncoder().encode(value)) hash = Math.imul(hash ^ char, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

function requireDistinct(runs: readonly AblationRun[]): void {
  const seen = new Map<string, string>();
  const problems: string[] = [];
  for (const { id, config } of runs) {
    const { output_dir: _folder, logging_dir: _events, ...training } = config.training;
    const key = JSON.stringify({ ...config, training });
    const other = seen.get(key);
    if (other !== undefined)
      problems.push(other === id ? `${id} is listed twice` : `${other} and ${id} are the same run`);
    seen.set(key, id);
  }
  const ids = runs.map((run) => run.id);
  problems.push(
    ...ids
      .filter((id, i) => ids.indexOf(id) < i && !problems.some((problem) => problem.includes(id)))
      .map((id) => `two runs are called ${id}`),
  );
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
}
