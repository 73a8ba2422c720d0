import { stringify } from 'yaml';
import { settingsInForce, withoutFolders } from '../../settings.js';
import type { MetricsLine } from '../inputs.js';
import type { Canvas } from '../plots/canvas.js';
import { lineChart, type Point } from '../plots/lines.js';
import { asRecord, type TrainInputs } from '../read.js';
import { section, type Block, type Report, type Row, type TableBlock } from '../document.js';
import { aboutSections } from './about.js';
import { samplesTable, type AnswerSample } from './samples.js';

/** The report of a training run. */
export function trainingReport(inputs: TrainInputs, canvas: Canvas, samples: readonly AnswerSample[]): Report {
  const { metrics, record, config } = inputs;
  const versions = record?.versions ?? {};
  const settings =
    config === undefined
      ? undefined
      : { model: withoutFolders(config.values['model']), ...settingsInForce(config.values) };
  const base = nameOf(config?.values['model'] ?? record?.base?.name);
  const steps = columnOf(metrics, 'loss').at(-1)?.[0];
  return {
    title: `Training of ${base}`,
    lead: [
      [`${method(inputs)} on ${base}`, steps === undefined ? undefined : `${steps} steps`, record?.device]
        .filter((part) => part !== undefined)
        .join(', ') + '.',
    ],
    sections: [
      ...section('Results', resultsTable(inputs), dataTable(inputs)),
      ...section('Loss', lossChart(canvas, metrics)),
      ...section(
        'Learning rate',
        chart(canvas, metrics, {
          column: 'learning_rate',
          name: 'learning-rate',
          title: 'Learning rate',
          y: 'learning rate',
          what: 'The rate that each logged step was made with',
        }),
      ),
      ...section(
        'Gradient norm',
        chart(canvas, metrics, {
          column: 'grad_norm',
          name: 'gradient-norm',
          title: 'Gradient norm',
          y: 'global norm before clipping',
          what: 'Global norm of the gradients before clipping',
        }),
      ),
      ...section(
        'Memory and speed',
        chart(canvas, metrics, {
          column: 'memory_bytes',
          name: 'memory',
          title: 'Memory',
          y: 'MiB on the device',
          what: 'Tensors on the device between two steps, in MiB',
          scale: 2 ** -20,
        }),
        chart(canvas, metrics, {
          column: 'tokens_per_second',
          name: 'speed',
          title: 'Speed',
          y: 'tokens a second',
          what: 'Tokens a second, padding left out',
        }),
      ),
      ...section(
        'Sample outputs',
        samplesTable('Answers of the trained model to prompts of its data, as recorded after training', samples),
      ),
      ...section('Log', logTable(metrics)),
      ...aboutSections({
        config: settings === undefined ? undefined : stringify(settings),
        versions,
        card: inputs.card,
      }),
    ],
    rows: metrics as readonly Row[],
    data: { kind: 'train', metrics, results: record?.results ?? {}, config: settings ?? {}, versions, samples },
  };
}

/** The numbers of a column over the steps. */
function columnOf(metrics: readonly MetricsLine[], name: string, scale = 1): Point[] {
  return metrics.flatMap(({ step, [name]: value }): Point[] =>
    typeof step === 'number' && typeof value === 'number' ? [[step, value * scale]] : [],
  );
}

function lossChart(canvas: Canvas, metrics: readonly MetricsLine[]): Block | undefined {
  const [train, validation] = [columnOf(metrics, 'loss'), columnOf(metrics, 'eval_loss')];
  const least = validation.reduce<Point | undefined>(
    (best, point) => (best === undefined || point[1] < best[1] ? point : best),
    undefined,
  );
  return lineChart(canvas, {
    name: 'loss',
    title: 'Training and validation loss',
    description: [
      course('Training loss', train),
      course('Validation loss', validation),
      least === undefined ? '' : `The validation loss is lowest at step ${least[0]}.`,
    ]
      .filter((text) => text !== '')
      .join(' '),
    x: 'step',
    y: 'loss (nats a token)',
    series: [
      { name: 'training', lines: [train] },
      { name: 'validation', lines: [validation], marked: true },
    ],
  });
}

interface ColumnChart {
  readonly column: string;
  readonly name: string;
  readonly title: string;
  readonly y: string;
  readonly what: string;
  readonly scale?: number;
}

function chart(
  canvas: Canvas,
  metrics: readonly MetricsLine[],
  { column, name, title, y, what, scale = 1 }: ColumnChart,
): Block | undefined {
  const points = columnOf(metrics, column, scale);
  return lineChart(canvas, {
    name,
    title,
    description: course(what, points),
    x: 'step',
    y,
    zero: true,
    series: [{ name: title.toLowerCase(), lines: [points] }],
  });
}

/** A line in words. */
export function course(what: string, points: readonly Point[]): string {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined) return '';
  if (first === last) return `${what}: ${round(first[1])} at step ${first[0]}.`;
  const values = points.map(([, y]) => y);
  return `${what}: from ${round(first[1])} at step ${first[0]} to ${round(last[1])} at step ${last[0]}, between ${round(Math.min(...values))} and ${round(Math.max(...values))}.`;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

function resultsTable({ record, metrics }: TrainInputs): TableBlock | undefined {
  const last = metrics.reduce<Record<string, unknown>>((all, line) => ({ ...all, ...line }), {});
  const results: (readonly [string, unknown])[] = [
    ...Object.entries(record?.results ?? {}).map(([name, value]) => [name.replaceAll('_', ' '), value] as const),
    ['last training loss', last['loss']],
    ['last validation loss', last['eval_loss']],
    ['test perplexity', last['test_perplexity']],
    ['tokens', last['tokens']],
    ['trainable parameters', record?.parameters?.trainable],
    ['all parameters', record?.parameters?.total],
  ];
  const rows = results.flatMap(([name, value]) => (typeof value === 'number' ? [[name, value]] : []));
  return rows.length === 0
    ? undefined
    : { type: 'table', caption: 'What the run came to; losses in nats a token', columns: ['measure', 'value'], rows };
}

function dataTable({ record }: TrainInputs): TableBlock | undefined {
  if (record === undefined || record.data.length === 0) return undefined;
  return {
    type: 'table',
    caption: 'The rows of the run',
    columns: ['part', 'rows', 'tokens', 'supervised tokens'],
    rows: record.data.map(({ part, rows, tokens, supervised_tokens: supervised }) => [
      part,
      rows,
      tokens ?? undefined,
      supervised ?? undefined,
    ]),
  };
}

/** Lines of a log that a page shows: all are in report.csv. */
const LOG_ROWS = 40;

function logTable(metrics: readonly MetricsLine[]): TableBlock | undefined {
  const columns = ['step', 'epoch', 'loss', 'eval_loss', 'learning_rate', 'grad_norm', 'tokens_per_second'].filter(
    (name) => metrics.some((line) => line[name] !== undefined),
  );
  const byStep = new Map<number, MetricsLine>();
  for (const line of metrics)
    if (typeof line['step'] === 'number') byStep.set(line['step'], { ...byStep.get(line['step']), ...line });
  const lines = [...byStep.values()];
  if (lines.length === 0) return undefined;
  const every = Math.ceil(lines.length / LOG_ROWS);
  const some = lines.filter((_, i) => i % every === 0 || i === lines.length - 1);
  const number = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);
  return {
    type: 'table',
    caption: every === 1 ? 'Every logged step' : `One of ${every} logged steps; report.csv has all`,
    columns: columns.map((name) => name.replaceAll('_', ' ')),
    rows: some.map((line) => columns.map((name) => number(line[name]))),
  };
}

function method({ config }: TrainInputs): string {
  const { method: name = 'lora', r } = asRecord(config?.values['adapter']);
  return String(name) === 'lora' && typeof r === 'number' ? `LoRA of rank ${r}` : String(name);
}

/** The path on the machine that trained says nothing to a reader. */
export function nameOf(model: unknown): string {
  if (typeof model !== 'string') return 'a model';
  return /^[\w.-]+\/[\w.-]+$/.test(model) ? model : (model.split(/[\\/]/).at(-1) ?? model);
}
