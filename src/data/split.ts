import { ConfigError, DataError } from '../errors.js';
import { Random } from '../random.js';
import { countExamples, loadDataset, type Dataset, type DataSource, type Example, type LoadRequest } from './dataset.js';

type Sources = DataSource | readonly DataSource[];

export interface SplitRequest extends Omit<LoadRequest, 'source'> {
  readonly train: Sources;
  readonly validation?: Sources | undefined;
  readonly test?: Sources | undefined;
}

export interface DataSplits {
  readonly train: Dataset;
  readonly validation?: Dataset;
  readonly test?: Dataset;
}

/**
 * Loads the training file and, where given, files for validation and test. Without a validation file,
 * `validation_split` takes that part from the training rows.
 * @throws as loadDataset; ConfigError when both a validation file and validation_split are given.
 */
export async function loadSplits({ train, validation, test, ...rest }: SplitRequest): Promise<DataSplits> {
  const part = rest.options?.validation_split;
  if (validation !== undefined && part !== undefined) {
    throw new ConfigError('data: a validation file and validation_split exclude each other');
  }
  const whole = await loadDataset({ ...rest, source: train });
  const tested = test === undefined ? {} : { test: await loadDataset({ ...rest, source: test }) };
  if (validation !== undefined) return { train: whole, validation: await loadDataset({ ...rest, source: validation }), ...tested };
  if (part === undefined) return { train: whole, ...tested };
  const halves = splitExamples(whole.examples, part, rest.options?.seed ?? 0);
  const keep = (examples: readonly Example[]): Dataset => ({ ...whole, examples, stats: countExamples(examples) });
  return { train: keep(halves.train), validation: { ...keep(halves.validation), dropped: [] }, ...tested };
}

/**
 * Takes a part of the examples for validation, drawn by seed; both parts keep the order of the file.
 * @param part a fraction below 1 (rounded, at least one example) or a count.
 * @throws DataError when one of the two parts would be empty.
 */
export function splitExamples<T>(examples: readonly T[], part: number, seed: number): { train: T[]; validation: T[] } {
  const count = part < 1 ? Math.max(1, Math.round(part * examples.length)) : part;
  if (count >= examples.length) {
    throw new DataError(`validation_split ${part} takes ${count} of ${examples.length} examples: none are left for training`);
  }
  const chosen = new Set(new Random(seed, 'validation-split').permutation(examples.length).subarray(0, count));
  return {
    train: examples.filter((_, i) => !chosen.has(i)),
    validation: examples.filter((_, i) => chosen.has(i)),
  };
}
