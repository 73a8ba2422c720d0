import { describeSettings, familyOf } from './runs.js';
import { meanAndSd, recommendRank, type RankLosses, type Recommendation } from './recommend.js';
import type { FinishedRun } from './result.js';
import type { Settings } from './config.js';

/** A number over the seeds of a setting. */
export interface Spread {
  readonly mean: number;
  readonly sd: number;
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

export interface Summary {
  readonly rows: readonly SummaryRow[];
  readonly recommendations: readonly FamilyRecommendation[];
}

/** The runs by setting, in their order, with means over seeds. */
export function summarise(runs: readonly FinishedRun[]): Summary {
  const rows = [...groupBy(runs, ({ result }) => JSON.stringify(result.settings)).values()].map(summaryRow);
  const families = groupBy(
    runs.filter(({ result }) => rankOf(result.config) !== undefined),
    ({ result }) => JSON.stringify(familyOf(result.settings)),
  );
  const recommendations = [...families.values()].flatMap((family): FamilyRecommendation[] => {
    const byRank = groupBy(family, ({ result }) => String(rankOf(result.config)));
    const losses = [...byRank.values()].map(([first, ...rest]): RankLosses => ({
      rank: rankOf((first as FinishedRun).result.config) as number,
      losses: [first as FinishedRun, ...rest].map(({ result }) => result.validation_loss),
    }));
    const recommendation = recommendRank(losses);
    const [{ result }] = family as [FinishedRun];
    return recommendation === undefined ? [] : [{ settings: familyOf(result.settings), ...recommendation }];
  });
  return { rows, recommendations };
}

/** The recommendations in words, one line each. */
export function describeRecommendations({ rows, recommendations }: Summary): string[] {
  if (recommendations.length > 0) {
    return recommendations.map(({ settings, text }) => {
      const where = describeSettings(settings);
      return where === '' ? text : `With ${where}: ${text}`;
    });
  }
  const best = rows.reduce<SummaryRow | undefined>((least, row) => (least === undefined || row.validation_loss.mean < least.validation_loss.mean ? row : least), undefined);
  return best === undefined ? [] : [`The lowest mean validation loss, ${best.validation_loss.mean.toFixed(4)}, has ${describeSettings(best.settings) || 'the base'}.`];
}

function summaryRow(runs: readonly FinishedRun[]): SummaryRow {
  const [first] = runs as readonly [FinishedRun];
  const results = runs.map(({ result }) => result);
  const over = (of: (result: FinishedRun['result']) => Readonly<Record<string, number>>): Record<string, Spread> =>
    Object.fromEntries(Object.keys(of(first.result)).map((name) => [name, meanAndSd(results.map((result) => of(result)[name] ?? NaN))]));
  const rates = runs.flatMap(({ timings }) => (timings === undefined ? [] : [timings.tokens_per_second]));
  const { settings, config, trainable_parameters, adapter_bytes, peak_memory_bytes } = first.result;
  return {
    settings,
    rank: rankOf(config),
    seeds: results.map((result) => result.seed),
    validation_loss: meanAndSd(results.map((result) => result.validation_loss)),
    metrics: over((result) => result.metrics),
    trainable_parameters,
    adapter_bytes,
    peak_memory_bytes,
    forgetting: over((result) => result.forgetting),
    tokens_per_second: rates.length === 0 ? undefined : meanAndSd(rates).mean,
  };
}

/** Rank of a run of LoRA. */
export function rankOf(config: Readonly<Record<string, unknown>>): number | undefined {
  const { method, r } = config['adapter'] as { method?: unknown; r?: unknown };
  return method === 'lora' && typeof r === 'number' ? r : undefined;
}

function groupBy<T>(values: readonly T[], key: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) groups.set(key(value), [...(groups.get(key(value)) ?? []), value]);
  return groups;
}
