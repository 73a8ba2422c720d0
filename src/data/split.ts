import { ConfigError, DataError } from '../errors.js';
import { Random } from '../random.js';
import { countExamples, loadDataset, type Dataset, type DataSource, type LoadRequest } from './dataset.js';
import { selectExamples, type ExampleList } from './examples.js';
import { PackedExamples, packLengths } from './packing.js';

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
 * `validation_split` takes that part from the training rows. Only training rows are packed.
 * @throws as loadDataset; ConfigError when both a validation file and validation_split are given.
 */
export async function loadSplits({ train, validation, test, ...rest }: SplitRequest): Promise<DataSplits> {
  const { validation_split: part, packing = false, max_length: maxLength, seed = 0 } = rest.options ?? {};
  if (validation !== undefined && part !== undefined) {
    throw new ConfigError('data: a validation file and validation_split exclude each other');
  }
  const packed = (set: Dataset): Dataset => (packing ? packDataset(set, maxLength) : set);
  const whole = await loadDataset({ ...rest, source: train });
  const tested = test === undefined ? {} : { test: await loadDataset({ ...rest, source: test }) };
  if (validation !== undefined) return { train: packed(whole), validation: await loadDataset({ ...rest, source: validation }), ...tested };
  if (part === undefined) return { train: packed(whole), ...tested };
  const halves = splitIndices(whole.examples.length, part, seed);
  const keep = (indices: Int32Array): Dataset => {
    const examples = selectExamples(whole.examples, indices);
    return { ...whole, examples, stats: countExamples(examples) };
  };
  return { train: packed(keep(halves.train)), validation: { ...keep(halves.validation), dropped: [] }, ...tested };
}

/** Examples packed into rows of at most `maxLength` tokens (default: the longest example). `stats` still count the rows of the files. */
function packDataset(set: Dataset, maxLength = set.stats.longest): Dataset {
  const examples: ExampleList = set.examples;
  const lengths = Int32Array.from(examples, (example) => example.inputIds.length);
  return { ...set, examples: new PackedExamples(examples, packLengths(lengths, maxLength)) };
}

/**
 * Takes a part of `count` examples for validation, drawn by seed; both parts are in ascending order.
 * @param part a fraction below 1 (rounded, at least one example) or a count.
 * @throws DataError when one of the two parts would be empty.
 */
export function splitIndices(count: number, part: number, seed: number): { train: Int32Array; validation: Int32Array } {
  const taken = part < 1 ? Math.max(1, Math.round(part * count)) : part;
  if (taken >= count) throw new DataError(`validation_split ${part} takes ${taken} of ${count} examples: none are left for training`);
  const order = new Random(seed, 'validation-split').permutation(count);
  return { train: order.slice(taken).sort(), validation: order.slice(0, taken).sort() };
}
