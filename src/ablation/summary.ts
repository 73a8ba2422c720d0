import type { Settings } from './config.js';
import { familiesOf, rankOf } from './families.js';
import { meanAndSd, recommendRank, type RankLosses, type Recommendation } from './recommend.js';
import type { Baseline, FinishedRun } from './result.js';
import { describeSettings, settingsKey } from './runs.js';

/** A number over the seeds of a setting that have one; NaN where none has. */
export interface Spread {
  readonly mean: number;
  readonly sd: number;
  /** How many seeds have one. */
  readonly seeds: number;
}

/** A base model before any training. */
export interface BaseRow {
  /** `base`, and how it is held where there are several. */
  readonly name: string;
  readonly metrics: Readonly<Record<string, number>>;
}

/** The runs of one setting, a row of the table. */
export interface SummaryRow {
  readonly settings: Settings;
  readonly rank: number | undefined;
  readonly seeds: readonly number[];
  readonly validation_loss: Spread;
  readonly metrics: Readonly<Record<string, Spread>>;
  readonly trainable_parameters: number;
  readonly adapter_bytes: number;
  readonly peak_memory_bytes: number | undefined;
  readonly forgetting: Readonly<Record<string, Spread>>;
  readonly tokens_per_second: number | undefined;
}

/** A recommendation for each set of settings that several ranks were tried with. */
export interface FamilyRecommendation extends Recommendation {
  readonly settings: Settings;
}

/** The table of an ablation, and the rank that it recommends for each family of runs. */
export interface Summary {
  readonly bases: readonly BaseRow[];
  readonly rows: readonly SummaryRow[];
  readonly recommendations: readonly FamilyRecommendation[];
  /** Of each run by its id what makes it comparable with others at another rank: see familiesOf. */
  readonly families: Readonly<Record<string, Settings>>;
}

/** The runs by setting, in their order, with means over seeds; `baselines` by their names. */
export function summarise(runs: readonly FinishedRun[], baselines: Readonly<Record<string, Baseline>> = {}): Summary {
  const rows = [...groupBy(runs, ({ result }) => settingsKey(result.settings)).values()].map(summaryRow);
  const settings = familiesOf(runs.map(({ result }) => result));
  const families = Object.fromEntries(runs.map(({ result }, i) => [result.id, settings[i] as Settings]));
  const familyOf = ({ result }: FinishedRun): Settings => families[result.id] as Settings;
  const grouped = groupBy(
    runs.filter(({ result }) => rankOf(result.config) !== undefined),
    (run) => settingsKey(familyOf(run)),
  );
  const recommendations = [...grouped.values()].flatMap((family): FamilyRecommendation[] => {
    const byRank = groupBy(family, ({ result }) => String(rankOf(result.config)));
    const losses = [...byRank.values()].map(([first, ...rest]): RankLosses => ({
      rank: rankOf((first as FinishedRun).result.config) as number,
      losses: [first as FinishedRun, ...rest].map(({ result }) => result.validation_loss),
    }));
    const recommendation = recommendRank(losses);
    const [first] = family as [FinishedRun];
    return recommendation === undefined ? [] : [{ settings: familyOf(first), ...recommendation }];
  });
  return { bases: baseRows(baselines), rows, recommendations, families };
}

/** In the order of their names: it does not depend on which was measured first. */
function baseRows(baselines: Readonly<Record<string, Baseline>>): BaseRow[] {
  const keys = Object.keys(baselines)
    .filter((key) => Object.keys(baselines[key]?.metrics ?? {}).length > 0)
    .sort();
  const held = keys.map((key) => key.replace(/-[^-]*$/, ''));
  return keys.map((key, i) => ({
    name:
      keys.length === 1
        ? 'base'
        : `base ${held.filter((name) => name === held[i]).length === 1 ? (held[i] as string) : key}`,
    metrics: baselines[key]?.metrics ?? {},
  }));
}

/** The recommendations in words, one line each. */
export function describeRecommendations({ rows, recommendations }: Summary): string[] {
  const lines = recommendations.map(({ settings, text }) => {
    const where = describeSettings(settings);
    return where === '' ? text : `With ${where}: ${text}`;
  });
  // One family of ranks names its best itself.
  if (lines.length === 1) return lines;
  const known = rows.filter((row) => Number.isFinite(row.validation_loss.mean));
  const best = known.reduce<SummaryRow | undefined>(
    (least, row) => (least === undefined || row.validation_loss.mean < least.validation_loss.mean ? row : least),
    undefined,
  );
  return best === undefined
    ? lines
    : [
        ...lines,
        `${lines.length === 0 ? 'The' : 'Of all settings, the'} lowest mean validation loss, ${best.validation_loss.mean.toFixed(4)}, has ${describeSettings(best.settings) || 'the base'}.`,
      ];
}

function summaryRow(runs: readonly FinishedRun[]): SummaryRow {
  const [first] = runs as readonly [FinishedRun];
  const results = runs.map(({ result }) => result);
  const over = (of: (result: FinishedRun['result']) => Readonly<Record<string, number>>): Record<string, Spread> => {
    const names = [...new Set(results.flatMap((result) => Object.keys(of(result))))];
    return Object.fromEntries(names.map((name) => [name, spreadOf(results.map((result) => of(result)[name] ?? NaN))]));
  };
  const rates = runs.flatMap(({ timings }) => (timings === undefined ? [] : [timings.tokens_per_second]));
  const { settings, config, trainable_parameters, adapter_bytes, peak_memory_bytes } = first.result;
  return {
    settings,
    rank: rankOf(config),
    seeds: results.map((result) => result.seed),
    validation_loss: spreadOf(results.map((result) => result.validation_loss)),
    metrics: over((result) => result.metrics),
    trainable_parameters,
    adapter_bytes,
    peak_memory_bytes,
    forgetting: over((result) => result.forgetting),
    tokens_per_second: rates.length === 0 ? undefined : meanAndSd(rates).mean,
  };
}

function spreadOf(given: readonly number[]): Spread {
  const values = given.filter(Number.isFinite);
  return { ...(values.length === 0 ? { mean: NaN, sd: NaN } : meanAndSd(values)), seeds: values.length };
}

function groupBy<T>(values: readonly T[], key: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) groups.set(key(value), [...(groups.get(key(value)) ?? []), value]);
  return groups;
}
