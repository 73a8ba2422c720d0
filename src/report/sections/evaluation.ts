import { stringify } from 'yaml';
import type { EvalInput } from '../inputs.js';
import type { Canvas } from '../plots/canvas.js';
import { intervalChart } from '../plots/intervals.js';
import { scatterChart } from '../plots/scatter.js';
import type { EvalInputs } from '../read.js';
import { metricTitle, onShownScale } from '../../metric-scales.js';
import { withoutFolders } from '../../settings.js';
import { section, shown, type Block, type Report, type Row, type Section, type TableBlock } from '../document.js';
import { aboutSections } from './about.js';
import { answersByTask, samplesTable } from './samples.js';
import { nameOf } from './training.js';

/** The report of a comparison of adapters with their base model. */
export function evaluationReport({ eval: input }: EvalInputs, canvas: Canvas): Report {
  const { metrics, model, tasks, adapters, quantize, version } = input;
  const versions: Record<string, string> = version === undefined ? {} : { lowrank: version };
  const samples = answersByTask(
    input.samples.map(({ name, tasks: own }) => ({
      name,
      answers: own.flatMap((entry) => entry.samples.map((sample) => ({ task: entry.task, ...sample }))),
    })),
  );
  return {
    title: `Evaluation of ${nameOf(model)}`,
    lead: [
      `${nameOf(model)} and ${[adapters].flat().length} of its adapters on ${new Set(metrics.map(({ task }) => task)).size} tasks; brackets hold bootstrap intervals.`,
      ...cutWords(input),
    ],
    sections: [
      ...section('Scores', scoreTable(input), ...scoreCharts(input, canvas)),
      ...section('Forgetting against gain', forgettingTable(input), ...tradeCharts(input, canvas)),
      ...samples.flatMap(({ task, samples: rows }): Section[] =>
        section(
          `Sample outputs: ${task}`,
          samplesTable(`Answers to the first items of ${task}, model beside model`, rows),
        ),
      ),
      ...aboutSections({
        config: stringify(withoutFolders({ model, adapters, quantize: quantize ?? 'none', tasks })),
        versions,
      }),
    ],
    rows: rowsOf(input),
    data: {
      kind: 'eval',
      metrics,
      forgetting: forgettingOf(input),
      config: withoutFolders({ model, adapters, quantize: quantize ?? null, tasks }),
      versions,
      samples,
    },
  };
}

/** Which rows did not fit the context, or max_length, and were cut. */
function cutWords({ truncated }: EvalInput): string[] {
  const counts = Object.entries(truncated).flatMap(([model, tasks]) =>
    Object.entries(tasks).flatMap(([task, count]) => (count > 0 ? [`${count} of ${task} (${model})`] : [])),
  );
  return counts.length === 0 ? [] : [`Rows that were too long and were cut: ${counts.join(', ')}.`];
}

function rowsOf({ metrics }: EvalInput): Row[] {
  return metrics.flatMap(({ task, metric, items, retain, values }) =>
    values.map(({ model, value, low, high, gain }) => ({
      task,
      metric,
      items,
      retain,
      model,
      value,
      low: low ?? null,
      high: high ?? null,
      gain: gain ?? null,
    })),
  );
}

function modelsOf({ metrics }: EvalInput): string[] {
  return [...new Set(metrics.flatMap(({ values }) => values.map(({ model }) => model)))];
}

function scoreTable(input: EvalInput): TableBlock {
  const models = modelsOf(input);
  return {
    type: 'table',
    caption: 'Every metric of every task with its interval; ↓: lower is better',
    columns: ['task', 'metric', 'items', ...models],
    rows: input.metrics.map(({ task, metric, items, retain, values }) => [
      retain ? `${task} (to be retained)` : task,
      metricTitle(metric),
      items,
      ...models.map((name) => {
        const found = values.find(({ model }) => model === name);
        if (found === undefined || found.value === null) return undefined;
        const { value, low, high } = found;
        return typeof low === 'number' && typeof high === 'number' && high > low
          ? `${scaled(metric, value)} [${scaled(metric, low)}, ${scaled(metric, high)}]`
          : scaled(metric, value);
      }),
    ]),
  };
}

/** A plot a metric: metrics have scales of their own. */
function scoreCharts(input: EvalInput, canvas: Canvas): (Block | undefined)[] {
  return [...new Set(input.metrics.map(({ metric }) => metric))].map((name) => {
    const own = input.metrics.filter(({ metric }) => metric === name);
    const series = modelsOf(input).map((model) => ({
      name: model,
      rows: own.flatMap(({ task, values }) =>
        values.flatMap(({ model: of, value, low, high }) =>
          of === model && value !== null
            ? [
                {
                  row: task,
                  value: onShownScale(name, value),
                  low: onShownScale(name, low ?? value),
                  high: onShownScale(name, high ?? value),
                },
              ]
            : [],
        ),
      ),
    }));
    const words = series
      .map((s) => `${s.name}: ${s.rows.map(({ row, value }) => `${row} ${Number(value.toPrecision(4))}`).join(', ')}`)
      .join('; ');
    return intervalChart(canvas, {
      name: `score-${fileName(name)}`,
      title: `${name} of every task`,
      description: `${metricTitle(name)} with bootstrap intervals. ${words}.`,
      x: own[0]?.lowerIsBetter === true ? `${metricTitle(name)} (lower is better)` : metricTitle(name),
      series,
    });
  });
}

/** A value on the scale that people read. */
function scaled(metric: string, value: number): string {
  return shown(onShownScale(metric, value));
}

function signed(value: number): string {
  return `${value >= 0 ? '+' : '−'}${shown(Math.abs(value))}`;
}

/** Fit for a file's name and an id. */
export function fileName(name: string): string {
  return name
    .replace(/[^A-Za-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .toLowerCase();
}

type Metric = EvalInput['metrics'][number];

/** The gain of a model in a metric where it has one: against the base, positive where it is better. */
function gainOf({ values }: Metric, name: string): number[] {
  const gain = values.find(({ model }) => model === name)?.gain;
  return typeof gain === 'number' ? [gain] : [];
}

/** How much worse every retained metric became, by model and then by task and metric. */
function forgettingOf(input: EvalInput): Record<string, Record<string, number>> {
  const retained = input.metrics.filter(({ retain }) => retain);
  return Object.fromEntries(
    modelsOf(input)
      .slice(1)
      .map((model) => [
        model,
        Object.fromEntries(
          retained.flatMap((metric) =>
            gainOf(metric, model).map((gain) => [`${metric.task}/${metric.metric}`, 0 - gain]),
          ),
        ),
      ]),
  );
}

function forgettingTable(input: EvalInput): TableBlock | undefined {
  const rows = input.metrics
    .filter(({ retain }) => retain)
    .flatMap((entry) =>
      entry.values
        .slice(1)
        .flatMap(({ model, value }) =>
          gainOf(entry, model).map((gain) => [
            `${entry.task}/${metricTitle(entry.metric)}`,
            model,
            ...[entry.values[0]?.value, value].map((each) =>
              typeof each === 'number' ? scaled(entry.metric, each) : undefined,
            ),
            signed(onShownScale(entry.metric, entry.lowerIsBetter ? 0 - gain : gain)),
          ]),
        ),
    );
  return rows.length === 0
    ? undefined
    : {
        type: 'table',
        caption:
          'What was to be retained, before and after; changes are positive where the metric has grown; ↓: lower is better',
        columns: ['metric', 'model', 'before', 'after', 'change'],
        rows,
      };
}

/**
 * What models won in a metric that they were trained for against what they lost in those to be retained, a plot each of
 * the first and a colour each of the others. These have units of their own, so that each is measured by what it was
 * before.
 */
function tradeCharts(input: EvalInput, canvas: Canvas): (Block | undefined)[] {
  const [retained, learnt] = [
    input.metrics.filter(({ retain }) => retain),
    input.metrics.filter(({ retain }) => !retain),
  ];
  return learnt.map((metric) => {
    const name = `${metric.task}/${metric.metric}`;
    const series = retained.map((other) => ({
      name: `${other.task}/${other.metric}`,
      points: modelsOf(input)
        .slice(1)
        .flatMap((model) =>
          gainOf(metric, model).flatMap((x) =>
            lostShare(other, model).map((y) => ({ x: onShownScale(metric.metric, x), y, label: model })),
          ),
        ),
    }));
    const words = series
      .map(
        (s) =>
          `${s.name}: ${s.points.map(({ x, y, label }) => `${label} ${Number(x.toPrecision(3))}, ${Number(y.toPrecision(3))} %`).join('; ')}`,
      )
      .join('. ');
    return scatterChart(canvas, {
      name: `forgetting-${fileName(name)}`,
      title: `Forgetting against gain in ${name}`,
      description: `Each adapter against the base model: gain, then forgetting. ${words}.`,
      x: `gain in ${metricTitle(name)}`,
      y: 'forgetting (% of the value before)',
      series,
    });
  });
}

/** Forgetting in percent of the base's value. */
function lostShare(metric: Metric, model: string): number[] {
  const before = metric.values[0]?.value;
  return typeof before !== 'number' || before === 0
    ? []
    : gainOf(metric, model).map((gain) => (0 - gain) * (100 / Math.abs(before)));
}
