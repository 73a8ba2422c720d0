import { lowerIsBetter, metricTitle, onShownScale } from '../../metric-scales.js';
import { markdownCell } from '../../text.js';
import type { MetricValue, TaskResult } from './run.js';

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
  readonly values: readonly (MetricValue & {
    readonly model: string;
    /** Against the first model, positive where it is better. */ readonly gain: number | undefined;
  })[];
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
          return {
            ...value,
            model: name,
            gain: i === 0 ? undefined : lower ? before - value.value : value.value - before,
          };
        }),
      };
    }),
  );
}

/** What became of a metric that was to be retained. */
export interface Retained {
  readonly task: string;
  readonly metric: string;
  readonly model: string;
  /** Of the first model. */
  readonly before: number;
  readonly after: number;
  /** How much worse it is, in the unit of the metric: positive is forgetting, whichever way is better. */
  readonly forgotten: number;
}

/** A row a retained metric and model, without those that one of the two models has no number of. */
export function retainedMetrics(metrics: readonly ComparedMetric[]): Retained[] {
  return metrics
    .filter((metric) => metric.retain)
    .flatMap(({ task, metric, values: [first, ...others] }) =>
      others.flatMap(({ model, value, gain = NaN }) =>
        Number.isNaN(gain)
          ? []
          : [{ task, metric, model, before: first?.value ?? NaN, after: value, forgotten: 0 - gain }],
      ),
    );
}

/**
 * `forgotten` of every retained metric, by model and then by `task/metric`: metrics have units of their own, so there
 * is no mean. Undefined without tasks that are to be retained.
 */
export function forgetting(metrics: readonly ComparedMetric[]): Record<string, Record<string, number>> | undefined {
  if (!metrics.some((metric) => metric.retain)) return undefined;
  const rows = retainedMetrics(metrics);
  return Object.fromEntries(
    [...new Set(rows.map(({ model }) => model))].map((model) => [
      model,
      Object.fromEntries(
        rows
          .filter((row) => row.model === model)
          .map(({ task, metric, forgotten }) => [`${task}/${metric}`, forgotten]),
      ),
    ]),
  );
}

/**
 * Header and rows of a table of what was to be retained, a row a metric and model. A change is positive where the
 * metric has grown, whichever way is better.
 */
export function retainedTable(metrics: readonly ComparedMetric[]): { header: string[]; rows: string[][] } {
  return {
    header: ['to be retained', 'metric', 'model', 'before', 'after', 'change'],
    rows: retainedMetrics(metrics).map(({ task, metric, model, before, after }) => [
      task,
      metricTitle(metric),
      model,
      number(onShownScale(metric, before)),
      number(onShownScale(metric, after)),
      signed(onShownScale(metric, after - before)),
    ]),
  };
}

/**
 * Header and rows of a table: a row a metric, a column a model, intervals in brackets. Changes against the first model
 * are positive where the metric has grown, whichever way is better; those of percentages are percentage points.
 */
export function comparisonTable(metrics: readonly ComparedMetric[]): { header: string[]; rows: string[][] } {
  const models = metrics[0]?.values.map(({ model }) => model) ?? [];
  return {
    header: ['task', 'n', 'metric', ...models],
    rows: metrics.map(({ task, metric, items, retain, values }) => [
      `${task}${retain ? ' (retain)' : ''}`,
      String(items),
      metricTitle(metric),
      ...values.map(({ value, low, high, gain }) => {
        const [shown, from, to, change] = [value, low, high, value - (values[0]?.value ?? NaN)].map((each) =>
          onShownScale(metric, each),
        ) as [number, number, number, number];
        return `${number(shown)} [${number(from)}, ${number(to)}]${gain === undefined ? '' : ` ${signed(change)}`}`;
      }),
    ]),
  };
}

export function markdownTable({
  header,
  rows,
}: {
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(markdownCell).join(' | ')} |`;
  return `${[line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n')}\n`;
}

function signed(value: number): string {
  return Number.isNaN(value) ? '–' : `${value >= 0 ? '+' : '−'}${number(Math.abs(value))}`;
}

/** Four significant digits. */
function number(value: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(4))) : '–';
}
