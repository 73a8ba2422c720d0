import type { RunConfig } from '../config/schema.js';

/** Schedules whose rate at a step does not depend on how many steps there are. */
const OPEN_ENDED = new Set(['constant', 'constant_with_warmup']);

const always = (): boolean => true;
/** More steps at the end change nothing before. */
const withOpenEnd = ({ training }: RunConfig): boolean =>
  OPEN_ENDED.has(training.lr_scheduler_type) && training.warmup_ratio === 0;

/** Lists of data. */
const DATA = new Set(['data.train', 'data.validation', 'data.test']);
/** Options of an entry of them that say where it lies and what it is called. */
const PLACES = new Set(['path', 'split', 'data_files', 'name']);

type Changeable = Readonly<Record<string, (config: RunConfig) => boolean>>;

/** The options that change no number of a run: they may differ from those of a finished one. */
const WITHOUT_EFFECT: Changeable = {
  // Where things lie; the entries of the lists of data are compared without it.
  model: always,
  model_revision: always,
  'adapter.init_from': always,
  'training.output_dir': always,
  'training.overwrite_output_dir': always,
  // What computes is compared by what was taken.
  device: always,
  // What is told and kept of the run.
  'training.logging_steps': always,
  'training.report_to': always,
  'training.logging_dir': always,
  'training.save_strategy': always,
  'training.save_steps': always,
  'training.save_total_limit': always,
  'training.resume_from_checkpoint': always,
};

/**
 * The options that may differ between a run and its continuation, because they change no number of what is done
 * already; every other option that differs is named and refused. The files that some of them name are compared by what
 * they hold.
 */
export const MAY_CHANGE: Changeable = {
  ...WITHOUT_EFFECT,
  // Looked at after the last step.
  'data.test': always,
  'training.load_best_model_at_end': always,
  // How long it is: a cosine or a line that has to end elsewhere would have run otherwise from the start.
  'training.max_steps': withOpenEnd,
  'training.num_train_epochs': withOpenEnd,
};

/** What options are, as JSON, in configs of versions that did not have them. */
const ABSENT: Readonly<Record<string, string>> = {
  'training.objective': '"token_mean"',
  'training.momentum': '0',
};

/** Of a run that goes on, or of one that is finished. */
export type Whose = 'continued' | 'finished';

/** Options that differ and may not, one sentence each. `before` is a config as JSON gives it back. */
export function optionDifferences(before: unknown, now: RunConfig, of: Whose = 'continued'): string[] {
  const mayChange = of === 'finished' ? WITHOUT_EFFECT : MAY_CHANGE;
  const [old, current] = [leaves(before), leaves(JSON.parse(JSON.stringify(now)))];
  return [...new Set([...old.keys(), ...current.keys()])].flatMap((path) => {
    const [was, is] = [old.get(path) ?? ABSENT[path], current.get(path)];
    if (was === is || mayChange[path]?.(now) === true) return [];
    return [`${path} was ${was ?? 'absent'} and is ${is ?? 'absent'}`];
  });
}

/** `section.option` to its value as JSON. */
function leaves(config: unknown): Map<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of Object.entries(isSection(config) ? config : {})) {
    if (!isSection(value)) found.set(name, JSON.stringify(value));
    else {
      for (const [option, leaf] of Object.entries(value)) {
        const path = `${name}.${option}`;
        found.set(path, JSON.stringify(DATA.has(path) ? placeless(leaf) : leaf));
      }
    }
  }
  return found;
}

/** How each entry of a list of data is read and weighed: a path alone says nothing of it. */
function placeless(entries: unknown): unknown[] {
  return (Array.isArray(entries) ? entries : [entries]).map((entry: unknown) =>
    isSection(entry) ? Object.fromEntries(Object.entries(entry).filter(([key]) => !PLACES.has(key))) : {},
  );
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
