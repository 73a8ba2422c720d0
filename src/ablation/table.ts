import { markdownTable } from '../eval/tasks/compare.js';
import { metricTitle, onShownScale, scaleOf } from '../metric-scales.js';
import { markdownText } from '../text.js';
import { withoutRank } from './families.js';
import { describeSettings } from './runs.js';
import { describeRecommendations, type BaseRow, type Spread, type Summary, type SummaryRow } from './summary.js';

/** A column of the table: how people read it, and the numbers of it. */
interface Column {
  readonly title: string;
  readonly cell: (row: SummaryRow) => string;
  /** In CSV, by their names; the cell itself where absent. */
  readonly values?: Readonly<Record<string, (row: SummaryRow) => number | string | undefined>>;
  /** What is known of a base model, in the column and in the first of `values`. */
  readonly base?: (row: BaseRow) => number | string | undefined;
  /** The same for people, where it is on another scale. */
  readonly baseCell?: (row: BaseRow) => string;
}

/**
 * The columns: rank, settings besides where there are any, validation loss, the metrics of tasks and of retained rows,
 * trainable parameters, bytes of the adapter, planned peak memory, forgetting, and last what differs each
 * time it is measured, tokens a second.
 */
function columnsOf({ rows, bases }: Summary): Column[] {
  const names = (of: (row: SummaryRow) => Readonly<Record<string, unknown>>): string[] => [
    ...new Set(rows.flatMap((row) => Object.keys(of(row)))),
  ];
  const others = rows.some((row) => Object.keys(withoutRank(row.settings)).length > 0);
  const forgotten = names((row) => row.forgetting);
  const metrics = [...new Set([...names((row) => row.metrics), ...bases.flatMap((base) => Object.keys(base.metrics))])];
  return [
    {
      title: 'rank',
      cell: ({ rank }) => (rank === undefined ? '–' : String(rank)),
      values: { rank: ({ rank }) => rank },
      base: ({ name }) => name,
    },
    ...(others ? [{ title: 'settings', cell: (row: SummaryRow) => describeSettings(withoutRank(row.settings)) }] : []),
    { title: 'seeds', cell: ({ seeds }) => String(seeds.length) },
    spread('validation loss', 'validation_loss', (row) => row.validation_loss),
    ...metrics.map((name) => ({
      ...spread(
        metricTitle(name),
        name,
        (row) => row.metrics[name],
        (value) => onShownScale(name, value),
      ),
      base: (row: BaseRow) => row.metrics[name],
      baseCell: ({ metrics: { [name]: value } }: BaseRow) =>
        shown(value === undefined ? value : onShownScale(name, value)),
    })),
    plain('trainable', 'trainable_parameters', (row) => row.trainable_parameters, grouped),
    plain('adapter bytes', 'adapter_bytes', (row) => row.adapter_bytes, grouped),
    plain(
      'planned peak (MiB)',
      'planned_peak_bytes',
      (row) => row.peak_memory_bytes,
      (bytes) => (bytes / 2 ** 20).toFixed(1),
    ),
    ...forgotten.map((name) =>
      spread(
        `${forgotten.length === 1 ? 'forgetting' : `forgetting: ${name}`}${scaleOf(name).unit === 'own' ? '' : ' (% points)'}`,
        `forgetting ${name}`,
        (row) => row.forgetting[name],
        (value) => onShownScale(name, value),
      ),
    ),
    plain(
      TIMED_COLUMN,
      'tokens_per_second',
      (row) => row.tokens_per_second,
      (rate) => rate.toFixed(0),
    ),
  ];
}

/** The only column that is measured anew each time; it is the last. */
export const TIMED_COLUMN = 'tokens/s';

/** A table with the recommendation, for people. */
export function renderMarkdown(summary: Summary): string {
  const { header, rows } = tableOf(summary);
  const words = describeRecommendations(summary).map((line) => `${markdownText(line)}\n`);
  return [markdownTable({ header, rows }), ...words].join('\n');
}

/** Titles and cells of the table: the base models first, where something was measured of them, then a row a setting. */
export function tableOf(summary: Summary): { header: string[]; rows: string[][] } {
  const columns = columnsOf(summary);
  const before = summary.bases.map((row) => columns.map(({ base, baseCell }) => baseCell?.(row) ?? shown(base?.(row))));
  return {
    header: columns.map((column) => column.title),
    rows: [...before, ...summary.rows.map((row) => columns.map(({ cell }) => cell(row)))],
  };
}

/** The same with every number as it is; means and deviations are columns of their own. */
export function renderCsv(summary: Summary): string {
  const columns = columnsOf(summary).flatMap(({ title, cell, values = { [title]: cell }, base }) =>
    Object.entries(values).map(([name, value], i) => ({ name, value, base: i === 0 ? base : undefined })),
  );
  const written = (value: number | string | undefined): string =>
    value === undefined || Number.isNaN(value) ? '' : String(value);
  const before = summary.bases.map((row) => columns.map(({ base }) => written(base?.(row))));
  const lines = [
    columns.map(({ name }) => name),
    ...before,
    ...summary.rows.map((row) => columns.map(({ value }) => written(value(row)))),
  ];
  return lines.map((cells) => `${cells.map(quoted).join(',')}\n`).join('');
}

/** @param scale of what people read; programs get the values as they are. */
function spread(
  title: string,
  name: string,
  of: (row: SummaryRow) => Spread | undefined,
  scale = (value: number): number => value,
): Column {
  return {
    title,
    cell: (row) => {
      const { mean, sd, seeds } = of(row) ?? { mean: NaN, sd: NaN, seeds: 0 };
      const part = seeds > 0 && seeds < row.seeds.length ? ` (${seeds} of ${row.seeds.length})` : '';
      return `${shown(scale(mean))}${seeds > 1 ? ` ± ${scale(sd).toFixed(4)}` : ''}${part}`;
    },
    values: { [name]: (row) => of(row)?.mean, [`${name} sd`]: (row) => of(row)?.sd },
  };
}

function plain(
  title: string,
  name: string,
  of: (row: SummaryRow) => number | undefined,
  shown: (value: number) => string,
): Column {
  return {
    title,
    cell: (row) => {
      const value = of(row);
      return value === undefined ? '–' : shown(value);
    },
    values: { [name]: of },
  };
}

function shown(value: number | string | undefined): string {
  if (typeof value === 'string') return value;
  return value === undefined || !Number.isFinite(value) ? '–' : value.toFixed(4);
}

function grouped(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: 20 }).replaceAll(',', ' ');
}

function quoted(cell: string): string {
  return /[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
