import { stringify } from 'yaml';
import { metricTitle, onShownScale, scaleOf } from '../../metric-scales.js';
import { withoutFolders } from '../../settings.js';
import { section, type Cell, type Report, type Row, type TableBlock, type TextBlock } from '../document.js';
import type { AblationInput, RecordInput } from '../inputs.js';
import type { Canvas } from '../plots/canvas.js';
import { meanAndDeviation } from '../plots/ranks.js';
import { asRecord, type AblationInputs } from '../read.js';
import { aboutSections } from './about.js';
import { courseCharts, memoryCharts, scoreCharts, tradeCharts } from './ablation-charts.js';
import { nameOf } from './training.js';
import { commonSettings, runsOf, settingsOf, settingsText, type Run } from './runs.js';
import { answersByTask, samplesTable, type AnswerSample } from './samples.js';
import { similaritySection, spectraSection } from './subspace.js';

/** The report of many runs that differ in some settings. */
export function ablationReport(
  { ablation, subspace, records }: AblationInputs,
  canvas: Canvas,
  answersOf: (records: Readonly<Record<string, RecordInput | undefined>>) => readonly AnswerSample[],
): Report {
  const runs = runsOf(ablation);
  // Of each setting one run speaks.
  const speakers = settingsOf(runs).map(({ name, runs: [first] }) => ({ name, run: first as Run }));
  const answers = answersByTask(speakers.map(({ name, run }) => ({ name, answers: run.answers })));
  const recorded = answersOf(Object.fromEntries(speakers.map(({ name, run }) => [name, records[run.id]])));
  const devices = [...new Set(Object.values(records).flatMap(({ device }) => device ?? []))];
  const shared = commonConfig(runs);
  const common = settingsText(commonSettings(runs.map(({ named }) => named)));
  const base = nameOf(shared['model']);
  const versions: Record<string, string> = {
    ...(ablation.version === undefined ? {} : { lowrank: ablation.version }),
    ...Object.values(records)[0]?.versions,
    ...(devices.length === 0 ? {} : { device: devices.join('; ') }),
  };
  return {
    title: `Ablation on ${base}`,
    lead: [
      `${runs.length} runs of ${settingsOf(runs).length} settings on ${base}${[...new Set(runs.flatMap(({ backend }) => backend ?? []))].map((name) => `, ${name}`).join('')}. ${common === '' ? '' : `All have ${common}. `}± is one standard deviation between seeds.`,
      ...ablation.summary.text,
    ],
    sections: [
      ...section('Results', resultsTable(runs, ablation), ...unfinished(ablation)),
      ...section('Score against rank', ...scoreCharts(canvas, runs)),
      ...section('Forgetting against gain', ...tradeCharts(canvas, runs, ablation)),
      ...section('Memory and speed against rank', ...memoryCharts(canvas, runs)),
      ...section('Courses of the runs', ...courseCharts(canvas, runs)),
      ...similaritySection(canvas, subspace),
      ...spectraSection(canvas, subspace, runs),
      ...section(
        'Sample outputs',
        ...answers.map(({ task, samples }) =>
          samplesTable(`Answers to the first items of ${task}; the first seed of each setting`, samples),
        ),
        answers.length > 0
          ? undefined
          : samplesTable(
              'Answers to prompts of the data, as recorded after training; the first seed of each setting',
              recorded,
            ),
      ),
      ...aboutSections({
        config: stringify(
          withoutFolders({ shared, runs: runs.map(({ id, settings, seed }) => ({ id, seed, settings })) }),
        ),
        versions,
      }),
    ],
    rows: runs.map(rowOf),
    data: {
      kind: 'ablation',
      ...ablation,
      runs: ablation.runs.map((run) => ({ ...run, config: withoutFolders(run.config) })),
      subspace: subspace ?? null,
      config: withoutFolders(shared),
      versions,
      samples:
        answers.length > 0
          ? answers.flatMap(({ task, samples }) => samples.map((sample) => ({ task, ...sample })))
          : recorded,
    },
  };
}

/** A row a run, numbers as they are. */
function rowOf(run: Run): Row {
  const {
    id,
    rank,
    seed,
    validation_loss,
    train_loss,
    metrics,
    forgetting,
    trainable_parameters,
    adapter_bytes,
    peak_memory_bytes,
    tokensPerSecond,
    seconds,
  } = run;
  return {
    id,
    ...Object.fromEntries(
      Object.entries(run.settings).map(([name, value]) => [
        `settings.${name}`,
        typeof value === 'object' ? JSON.stringify(value) : (value as string | number | boolean),
      ]),
    ),
    ...{ rank: rank ?? null, seed: seed ?? null, validation_loss, train_loss: train_loss ?? null },
    ...Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`metrics.${name}`, value])),
    ...Object.fromEntries(Object.entries(forgetting).map(([name, value]) => [`forgetting.${name}`, value])),
    ...{
      trainable_parameters: trainable_parameters ?? null,
      adapter_bytes: adapter_bytes ?? null,
      planned_peak_bytes: peak_memory_bytes ?? null,
    },
    ...{ tokens_per_second: tokensPerSecond ?? null, seconds: seconds ?? null },
  };
}

function resultsTable(runs: readonly Run[], { baselines }: AblationInput): TableBlock | undefined {
  if (runs.length === 0) return undefined;
  const bases = Object.entries(baselines).filter(([, values]) => Object.keys(values).length > 0);
  const metrics = [
    ...new Set(
      [...runs.map((run) => run.metrics), ...bases.map(([, values]) => values)].flatMap((values) =>
        Object.keys(values),
      ),
    ),
  ];
  const forgotten = [...new Set(runs.flatMap((run) => Object.keys(run.forgetting)))];
  return {
    type: 'table',
    caption:
      bases.length === 0
        ? 'A row a setting; means over its seeds'
        : 'The base model before any training, then a row a setting; means over its seeds',
    columns: [
      'setting',
      'seeds',
      'validation loss',
      ...metrics.map(metricTitle),
      ...forgotten.map((name) => `forgetting: ${name}${scaleOf(name).unit === 'own' ? '' : ' (% points)'}`),
      'trainable parameters',
      'adapter (MiB)',
      'planned peak (MiB)',
      'tokens/s',
    ],
    rows: [
      ...bases.map(([name, values]): Cell[] => [
        ...[bases.length === 1 ? 'base' : `base ${name}`, undefined, undefined],
        ...metrics.map((metric) => spreadOf([values[metric]], metric)),
        ...forgotten.map(() => undefined),
        ...[undefined, undefined, undefined, undefined],
      ]),
      ...settingsOf(runs).map(({ name, runs: own }): Cell[] => {
        const mean = (of: (run: Run) => number | null | undefined): number | undefined => {
          const values = numbersOf(own.map(of));
          return values.length === 0 ? undefined : meanAndDeviation(values).mean;
        };
        return [
          ...[name, own.length, spreadOf(own.map((run) => run.validation_loss))],
          ...metrics.map((metric) =>
            spreadOf(
              own.map((run) => run.metrics[metric]),
              metric,
            ),
          ),
          ...forgotten.map((metric) =>
            spreadOf(
              own.map((run) => run.forgetting[metric]),
              metric,
            ),
          ),
          ...[mean((run) => run.trainable_parameters), mebibytes(mean((run) => run.adapter_bytes))],
          ...[mebibytes(mean((run) => run.peak_memory_bytes)), whole(mean((run) => run.tokensPerSecond))],
        ];
      }),
    ],
  };
}

/** A mean, with the deviation where there is one, and no more decimals than that has two digits. */
function spreadOf(given: readonly (number | null | undefined)[], metric = ''): Cell {
  const values = numbersOf(given).map((value) => onShownScale(metric, value));
  if (values.length === 0) return undefined;
  const { mean, sd } = meanAndDeviation(values);
  if (sd === 0) return Number(mean.toPrecision(4));
  const decimals = Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(sd))));
  return `${mean.toFixed(decimals)} ± ${sd.toFixed(decimals)}`;
}

function whole(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Math.round(value);
}

function mebibytes(bytes: number | undefined): number | undefined {
  return bytes === undefined ? undefined : Number((bytes / 2 ** 20).toPrecision(3));
}

function numbersOf(values: readonly (number | null | undefined)[]): number[] {
  return values.filter((value): value is number => typeof value === 'number' && Number.isFinite(value));
}

function unfinished({ failed, pending }: AblationInput): (TableBlock | TextBlock)[] {
  return [
    ...(failed.length === 0
      ? []
      : [
          {
            type: 'table' as const,
            caption: 'Runs that failed',
            columns: ['run', 'error'],
            rows: failed.map(({ id, error }) => [id, error]),
          },
        ]),
    ...(pending.length === 0 ? [] : [{ type: 'text' as const, text: `Not yet run: ${pending.join(', ')}.` }]),
  ];
}

/** Options that all runs have alike. */
function commonConfig(runs: readonly Run[]): Record<string, unknown> {
  const [first, ...rest] = runs.map(({ config }) => config);
  const common = (value: unknown, others: readonly unknown[]): unknown => {
    if (others.every((other) => JSON.stringify(other) === JSON.stringify(value))) return value;
    const fields = asRecord(value);
    const kept = Object.entries(fields).map(
      ([key, own]) =>
        [
          key,
          common(
            own,
            others.map((other) => asRecord(other)[key]),
          ),
        ] as const,
    );
    return kept.length === 0 ? undefined : Object.fromEntries(kept.filter(([, own]) => own !== undefined));
  };
  return asRecord(common(first, rest));
}
