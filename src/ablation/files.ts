import { VERSION } from '../version.js';
import type { AblationConfig } from './config.js';
import type { AblationState } from './request.js';
import type { AblationRun } from './runs.js';
import type { AblationStore } from './store.js';
import { compareSubspaces } from './compare-adapters.js';
import { describeRecommendations, summarise } from './summary.js';
import { renderCsv, renderMarkdown } from './table.js';

/** Everything, for programs: see {@link ablationFiles}. */
export const ABLATION_FILE = 'ablation.json';
const TABLE_FILE = 'table.md';
const CSV_FILE = 'table.csv';
const SUBSPACE_FILE = 'subspace.json';

export interface FilesRequest {
  readonly ablation: AblationConfig;
  readonly runs: readonly AblationRun[];
  readonly state: AblationState;
  readonly store: AblationStore;
  /** The adapters are read and compared too. */
  readonly subspace: boolean;
}

/**
 * The files of an ablation, by name, of the runs that are finished:
 *
 * - `ablation.json`: `format` 1; `version` of this package; `ablation` (settings, seeds, tasks, retain as asked for);
 *   `planned` (ids of all runs); `runs` (as result.ts has them: settings, seed, config, hashes, losses, metrics,
 *   forgetting, answers, parameters, bytes); `failed` (id and error); `pending` (ids); `baselines` (metrics of the base
 *   models by how they are held); `summary` (`rows` with mean and sd over seeds, `recommendations` with their numbers,
 *   `families`: of each run its settings but for the rank and an alpha that follows it, `text`); and, under `timings`
 *   alone, what differs each time it is measured: seconds, tokens/s.
 * - `table.md`, `table.csv`: a row a base model and a row a setting; the last column, tokens/s, is the only one of
 *   timings.
 * - `subspace.json`: as spaces.ts has it.
 *
 * But for timings they are the same however often the ablation was stopped and in whatever order its runs were made.
 */
export async function ablationFiles({
  ablation,
  runs,
  state,
  store,
  subspace,
}: FilesRequest): Promise<Record<string, string>> {
  const { finished, failed, pending, baselines } = state;
  const summary = summarise(finished, baselines);
  const { settings, seeds, tasks, retain } = ablation;
  const whole = {
    format: 1,
    version: VERSION,
    ablation: { settings, seeds, tasks, retain },
    planned: runs.map(({ id }) => id),
    runs: finished.map(({ result }) => result),
    failed,
    pending: pending.map(({ id }) => id),
    baselines: Object.fromEntries(
      Object.entries(baselines)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, { metrics }]) => [key, metrics]),
    ),
    summary: {
      rows: summary.rows.map(({ tokens_per_second: _rate, ...row }) => row),
      recommendations: summary.recommendations,
      families: summary.families,
      text: describeRecommendations(summary),
    },
    timings: Object.fromEntries(
      finished.flatMap(({ result, timings }) => (timings === undefined ? [] : [[result.id, timings]])),
    ),
  };
  return {
    [ABLATION_FILE]: `${JSON.stringify(whole, null, 1)}\n`,
    [TABLE_FILE]: renderMarkdown(summary),
    [CSV_FILE]: renderCsv(summary),
    ...(subspace ? { [SUBSPACE_FILE]: `${JSON.stringify(await compareSubspaces(runs, finished, store))}\n` } : {}),
  };
}
