import type { AblationInput, RunInput } from '../inputs.js';
import { asRecord } from '../read.js';

/** A run of an ablation, with what reports tell runs apart by. */
export interface Run extends RunInput {
  /** Of LoRA; undefined for another method. */
  readonly rank: number | undefined;
  /** The settings, with an alpha that follows the rank written so. */
  readonly named: Readonly<Record<string, unknown>>;
  /** What runs differ in but for the rank, in words; empty where it is the rank alone. */
  readonly family: string;
  readonly tokensPerSecond: number | undefined;
  readonly seconds: number | undefined;
}

/** Runs whose settings but for the rank are the same. */
export interface Family {
  readonly name: string;
  readonly runs: readonly Run[];
}

export function runsOf({ runs, timings, summary }: AblationInput): Run[] {
  const named = runs.map(({ id, settings }) => {
    const family = summary.families[id] ?? settings;
    return 'r' in settings ? { r: settings['r'], ...family } : family;
  });
  const common = new Set(Object.keys(commonSettings(named)));
  return runs.map((run, i) => {
    const { method = 'lora', r } = asRecord(run.config['adapter']);
    const own = named[i] ?? {};
    const rest = Object.entries(own).filter(([name]) => name !== 'r' && !common.has(name));
    return {
      ...run,
      named: own,
      rank: method === 'lora' && typeof r === 'number' ? r : undefined,
      family: settingsText(Object.fromEntries(rest)),
      tokensPerSecond: timings[run.id]?.tokens_per_second,
      seconds: timings[run.id]?.seconds,
    };
  });
}

/** What is the same in all of several. */
export function commonSettings([first, ...rest]: readonly Readonly<Record<string, unknown>>[]): Record<
  string,
  unknown
> {
  if (first === undefined || rest.length === 0) return {};
  return Object.fromEntries(
    Object.entries(first).filter(([name, value]) =>
      rest.every((other) => JSON.stringify(other[name]) === JSON.stringify(value)),
    ),
  );
}

/** Settings as `name=value`. */
export function settingsText(settings: Readonly<Record<string, unknown>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${valueText(value)}`)
    .join(', ');
}

export function familiesOf(runs: readonly Run[]): Family[] {
  return [...new Set(runs.map(({ family }) => family))].map((name) => ({
    name: name === '' ? 'runs' : name,
    runs: runs.filter(({ family }) => family === name),
  }));
}

/** Setting by setting, the seeds of one together. */
export function settingsOf(runs: readonly Run[]): { readonly name: string; readonly runs: readonly Run[] }[] {
  const groups = new Map<string, Run[]>();
  for (const run of runs) {
    const name = labelOf(run);
    groups.set(name, [...(groups.get(name) ?? []), run]);
  }
  return [...groups].map(([name, own]) => ({ name, runs: own }));
}

/** The settings of a run in words, its rank first. */
export function labelOf({ rank, family }: Run): string {
  return [rank === undefined ? '' : `r=${rank}`, family].filter((part) => part !== '').join(', ') || 'base settings';
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return value.map(valueText).join('+');
  return typeof value === 'string' ? value : JSON.stringify(value);
}
