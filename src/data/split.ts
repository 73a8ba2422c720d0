import { ConfigError, DataError } from '../errors.js';
import { Random } from '../random.js';
import { datasetOf, openDataset, type Dataset } from './dataset.js';
import { selectExamples } from './examples.js';
import { packDataset } from './packing.js';
import type { LoadRequest } from './walk.js';

export interface SplitRequest extends Omit<LoadRequest, 'source'> {
  readonly train: LoadRequest['source'];
  readonly validation?: LoadRequest['source'] | undefined;
  readonly test?: LoadRequest['source'] | undefined;
}

export interface DataSplits {
  readonly train: Dataset;
  readonly validation?: Dataset;
  readonly test?: Dataset;
}

/**
 * Loads the training data and, where given, data for validation and test. Without validation data, `validation_split`
 * takes that part from the training rows. Only training rows are packed and counted by `max_train_samples`.
 * @throws as loadDataset; ConfigError when both validation data and validation_split are given.
 */
export async function loadSplits({ train, validation, test, ...rest }: SplitRequest): Promise<DataSplits> {
  const {
    validation_split: part,
    packing = false,
    shuffle = true,
    max_length: maxLength,
    max_train_samples: maxTrain,
    seed = 0,
  } = rest.options ?? {};
  if (validation !== undefined && part !== undefined) {
    throw new ConfigError('data: a validation file and validation_split exclude each other');
  }
  const packed = (set: Dataset): Dataset => {
    const taken =
      maxTrain === undefined || maxTrain >= set.examples.length
        ? set
        : selectRows(set, drawnFirst(set.examples.length, maxTrain, seed));
    return packing ? packDataset(taken, { maxLength, seed: shuffle ? seed : undefined }) : taken;
  };
  const whole = await openDataset({ ...rest, source: train });
  const tested = test === undefined ? {} : { test: await openDataset({ ...rest, source: test }) };
  if (validation !== undefined)
    return { train: packed(whole), validation: await openDataset({ ...rest, source: validation }), ...tested };
  if (part === undefined) return { train: packed(whole), ...tested };
  const halves = splitIndices(whole.examples.length, part, seed);
  return {
    train: packed(selectRows(whole, halves.train)),
    validation: { ...selectRows(whole, halves.validation), dropped: [] },
    ...tested,
  };
}

/** The data set of these examples alone; the indices ascend. */
function selectRows(whole: Dataset, indices: Int32Array): Dataset {
  let [begin, taken] = [0, 0];
  const parts = whole.parts.map((part) => {
    begin += part.count;
    const before = taken;
    while (taken < indices.length && (indices[taken] as number) < begin) taken++;
    if (taken === before && part.weight !== undefined)
      throw new ConfigError(`data: ${part.name}: has a weight, but none of the rows that are taken`);
    return { ...part, count: taken - before };
  });
  return datasetOf(selectExamples(whole.examples, indices), parts);
}

/** So many of `count` examples, drawn by seed and in ascending order; those of a smaller number are among them. */
export function drawnFirst(count: number, taken: number, seed: number): Int32Array {
  return new Random(seed, 'train-samples').permutation(count).slice(0, taken).sort();
}

/**
 * Takes a part of `count` examples for validation, drawn by seed; both parts are in ascending order.
 * @param part a fraction below 1 (rounded, at least one example) or a count.
 * @throws DataError when one of the two parts would be empty.
 */
export function splitIndices(count: number, part: number, seed: number): { train: Int32Array; validation: Int32Array } {
  const taken = part < 1 ? Math.max(1, Math.round(part * count)) : part;
  if (taken >= count)
    throw new DataError(`validation_split ${part} takes ${taken} of ${count} examples: none are left for training`);
  const order = new Random(seed, 'validation-split').permutation(count);
  return { train: order.slice(taken).sort(), validation: order.slice(0, taken).sort() };
}
