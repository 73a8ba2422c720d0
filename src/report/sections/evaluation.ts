import { stringify } from 'yaml';
import type { EvalInput } from '../inputs.js';
import type { Canvas } from '../plots/canvas.js';
import { intervalChart } from '../plots/intervals.js';
import { scatterChart } from '../plots/scatter.js';
import type { EvalInputs } from '../read.js';
import { section, shown, type Block, type Report, type Row, type Section, type TableBlock } from '../document.js';
import { aboutSections } from './about.js';
import { answersByTask, samplesTable } from './samples.js';
import { nameOf } from './training.js';

/** The report of a comparison of adapters with their base model. */
export function evaluationReport({ eval: input }: EvalInputs, canvas: Canvas): Report {
  const { metrics, model, tasks, adapters, quantize, version } = input;
  const versions: Record<string, string> = version === undefined ? {} : { lowrank: version };
  const samples = answersByTask(input.samples.map(({ name, tasks: own }) => ({ name, answers: own.flatMap((entry) => entry.samples.map((sample) => ({ task: entry.task, ...sample }))) })));
  return {
    title: `Evaluation of ${nameOf(model)}`,
    lead: [`${nameOf(model)} and ${[adapters].flat().length} of its adapters on ${new Set(metrics.map(({ task }) => task)).size} tasks; brackets hold bootstrap intervals.`],
    sections: [
      ...section('Scores', scoreTable(input), ...scoreCharts(input, canvas)),
      ...section('Forgetting against gain', forgettingTable(input), tradeChart(input, canvas)),
      ...samples.flatMap(({ task, samples: rows }): Section[] => section(`Sample outputs: ${task}`, samplesTable(`Answers to the first items of ${task}, model beside model`, rows))),
      ...aboutSections({ config: stringify({ model, adapters, quantize: quantize ?? 'none', tasks }), versions }),
    ],
    rows: rowsOf(input),
    data: { kind: 'eval', metrics, forgetting: input.forgetting ?? null, config: { model, adapters, quantize: quantize ?? null, tasks }, versions, samples },
  };
}

function rowsOf({ metrics }: EvalInput): Row[] {
  return metrics.flatMap(({ task, metric, items, retain, values }) =>
    values.map(({ model, value, low, high, gain }) => ({ task, metric, items, retain, model, value, low: low ?? null, high: high ?? null, gain: gain ?? null })),
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
    rows: input.metrics.map(({ task, metric, items, retain, lowerIsBetter, values }) => [
      retain ? `${task} (to be retained)` : task,
      lowerIsBetter ? `${metric} ↓` : metric,
      items,
      ...models.map((name) => {
        const found = values.find(({ model }) => model === name);
        if (found === undefined || found.value === null) return undefined;
        const { value, low, high } = found;
        return typeof low === 'number' && typeof high === 'number' && high > low ? `${shown(value)} [${shown(low)}, ${shown(high)}]` : shown(value);
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
        values.flatMap(({ model: of, value, low, high }) => (of === model && value !== null ? [{ row: task, value, low: low ?? value, high: high ?? value }] : [])),
      ),
    }));
    const words = series.map((s) => `${s.name}: ${s.rows.map(({ row, value }) => `${row} ${Number(value.toPrecision(4))}`).join(', ')}`).join('; ');
    return intervalChart(canvas, { name: `score-${fileName(name)}`, title: `${name} of every task`, description: `${name} with bootstrap intervals. ${words}.`, x: own[0]?.lowerIsBetter === true ? `${name} (lower is better)` : name, series });
  });
}

/** Fit for a file's name and an id. */
export function fileName(name: string): string {
  return name.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '').toLowerCase();
}

function forgettingTable({ forgetting }: EvalInput): TableBlock | undefined {
  const rows = Object.entries(forgetting ?? {}).map(([model, change]) => [model, change ?? undefined]);
  return rows.length === 0 ? undefined : { type: 'table', caption: 'Mean change against the base in what was to be retained; below zero something was forgotten', columns: ['model', 'change'], rows };
}

/** What a model won on tasks that it was trained for against what it lost on the others. */
function tradeChart(input: EvalInput, canvas: Canvas): Block | undefined {
  const points = modelsOf(input).slice(1).flatMap((model) => {
    const mean = (retain: boolean): number | undefined => {
      const gains = input.metrics.filter((metric) => metric.retain === retain).flatMap(({ values }) => values.find((value) => value.model === model)?.gain ?? []);
      return gains.length === 0 ? undefined : gains.reduce((sum, gain) => sum + gain, 0) / gains.length;
    };
    const [gain, kept] = [mean(false), mean(true)];
    return gain === undefined || kept === undefined ? [] : [{ x: gain, y: -kept, label: model }];
  });
  const words = points.map(({ x, y, label }) => `${label}: gain ${Number(x.toPrecision(3))}, forgetting ${Number(y.toPrecision(3))}`).join('; ');
  return scatterChart(canvas, { name: 'forgetting-gain', title: 'Forgetting against gain', description: `Each adapter against the base model. ${words}.`, x: 'gain (mean over tasks)', y: 'forgetting (mean over retained tasks)', series: [{ name: 'adapters', points }] });
}
