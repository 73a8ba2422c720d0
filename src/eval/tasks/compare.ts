import type { MetricValue, TaskResult } from './run.js';
import { lowerIsBetter } from './run.js';

/** The results of one model on all tasks. */
export interface Evaluated {
  /** `base`, or the name of an adapter. */
  readonly name: string;
  readonly results: readonly TaskResult[];
}

/** One metric of one task, of every model. */
export interface ComparedMetric {
  readonly task: string;
  readonly metric: string;
  readonly items: number;
  /** The task tells what was forgotten. */
  readonly retain: boolean;
  readonly lowerIsBetter: boolean;
  readonly values: readonly (MetricValue & { readonly model: string; /** Against the first model, positive where it is better. */ readonly gain: number | undefined })[];
}

/** Metric by metric, the first model being what the others are compared with. */
export function compare(evaluated: readonly Evaluated[], retained: ReadonlySet<string>): ComparedMetric[] {
  const [first] = evaluated;
  if (first === undefined) return [];
  return first.results.flatMap((result, t) =>
    Object.keys(result.metrics).map((metric) => {
      const lower = lowerIsBetter(metric);
      const before = result.metrics[metric]?.value ?? NaN;
      return {
        ...{ task: result.task, metric, items: result.items, retain: retained.has(result.task), lowerIsBetter: lower },
        values: evaluated.map(({ name, results }, i) => {
          const value = results[t]?.metrics[metric] ?? { value: NaN, low: NaN, high: NaN };
          return { ...value, model: name, gain: i === 0 ? undefined : lower ? before - value.value : value.value - before };
        }),
      };
    }),
  );
}

/** Mean gain on what was to be retained, by model; negative where something was forgotten. Undefined without such tasks. */
export function forgetting(metrics: readonly ComparedMetric[]): Record<string, number> | undefined {
  const retained = metrics.filter((metric) => metric.retain);
  if (retained.length === 0) return undefined;
  const models = retained[0]?.values.slice(1).map(({ model }) => model) ?? [];
  return Object.fromEntries(models.map((model) => [model, retained.reduce((sum, { values }) => sum + (values.find((value) => value.model === model)?.gain ?? 0), 0) / retained.length]));
}

/** Header and rows of a table: a row a metric, a column a model, intervals and gains in brackets. */
export function comparisonTable(metrics: readonly ComparedMetric[]): { header: string[]; rows: string[][] } {
  const models = metrics[0]?.values.map(({ model }) => model) ?? [];
  return {
    header: ['task', 'metric', ...models],
    rows: metrics.map(({ task, metric, retain, lowerIsBetter: lower, values }) => [
      `${task}${retain ? ' (retain)' : ''}`,
      `${metric}${lower ? ' ↓' : ''}`,
      ...values.map(({ value, low, high, gain }) => `${number(value)} [${number(low)}, ${number(high)}]${gain === undefined ? '' : ` ${gain >= 0 ? '+' : '−'}${number(Math.abs(gain))}`}`),
    ]),
  };
}

export function markdownTable({ header, rows }: { readonly header: readonly string[]; readonly rows: readonly (readonly string[])[] }): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return `${[line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n')}\n`;
}

/** Four significant digits. */
function number(value: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(4))) : '–';
}
