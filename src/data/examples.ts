import { ConfigError } from '../errors.js';
import { IGNORED } from './encode.js';

/** One row as the model sees it, or several packed into one. */
export interface Example {
  /** `[length]` */
  readonly inputIds: Int32Array;
  /** `[length]`, −100 where the position is not learnt; not shifted. */
  readonly labels: Int32Array;
  /** 1-based line in its source; of packed rows that of the first. */
  readonly row: number;
  readonly source: string;
  /** Cut at max_length. */
  readonly truncated?: boolean;
  /** A conversation with tool calls that its chat template does not write. */
  readonly omitsCalls?: true;
  /** `[length]`, of packed rows only: where the row of each token begins. */
  readonly starts?: Int32Array;
  /** Lines of all rows that are packed here. */
  readonly rows?: readonly number[];
}

/** Examples by index: an array, or something that reads them when they are asked for. */
export interface Examples {
  readonly length: number;
  /** The example at an index from 0; undefined beyond the end. A promise where rows stay in their files. */
  at(index: number): Example | undefined | Promise<Example | undefined>;
  /** Tokens of an example, where they are known without putting it together. */
  lengthAt?(index: number): number;
  /** The examples of an epoch (counted from 0), where an index does not stand for the same in all of them. */
  forEpoch?(epoch: number): Examples;
}

/** Examples that are all in memory. */
export interface ExampleList extends Examples, Iterable<Example> {
  /** The example at an index from 0; undefined beyond the end. */
  at(index: number): Example | undefined;
}

/** The examples of these indices, in this order. */
export function takeExamples(examples: Examples, indices: ArrayLike<number>): Promise<Example[]> {
  return Promise.all(
    Array.from(indices, async (index) => {
      const example = await examples.at(index);
      if (example === undefined) throw new RangeError(`no example ${index} of ${examples.length}`);
      return example;
    }),
  );
}

/** All examples, for sets that fit into memory. */
export function allExamples(examples: Examples): Promise<Example[]> {
  return takeExamples(
    examples,
    Array.from({ length: examples.length }, (_, i) => i),
  );
}

/** A part of other examples. */
export function selectExamples(examples: ExampleList, indices: Int32Array): ExampleList;
export function selectExamples(examples: Examples, indices: Int32Array): Examples;
export function selectExamples(examples: Examples, indices: Int32Array): Examples {
  const at = (index: number): ReturnType<Examples['at']> => {
    const chosen = indices.at(index);
    return chosen === undefined ? undefined : examples.at(chosen);
  };
  return {
    length: indices.length,
    at,
    ...(examples.lengthAt === undefined
      ? {}
      : { lengthAt: (index: number) => examples.lengthAt?.(indices[index] as number) as number }),
    ...(isExampleList(examples) ? { [Symbol.iterator]: () => iterate(indices.length, at as ExampleList['at']) } : {}),
  };
}

export function isExampleList(examples: Examples): examples is ExampleList {
  return Symbol.iterator in examples;
}

export function* iterate(length: number, at: ExampleList['at']): Generator<Example> {
  for (let i = 0; i < length; i++) yield at(i) as Example;
}

/**
 * Tokens of each example.
 * @throws ConfigError when they would have to be read from their files.
 */
export function lengthsOf(examples: Examples): Int32Array {
  if (examples.lengthAt === undefined && !isExampleList(examples))
    throw new ConfigError('data: the lengths of streamed rows are known only where packing is asked for');
  const lengthAt = (i: number): number =>
    examples.lengthAt?.(i) ?? (examples as ExampleList).at(i)?.inputIds.length ?? 0;
  return Int32Array.from({ length: examples.length }, (_, i) => lengthAt(i));
}

/** Indices from the longest to the shortest; equal lengths in their order. */
export function longestFirst(lengths: ArrayLike<number>): Int32Array {
  return Int32Array.from(lengths, (_, i) => i).sort((a, b) => (lengths[b] as number) - (lengths[a] as number) || a - b);
}

/** Positions whose label is predicted: all but the first that are not −100. */
export function countTargets(labels: ArrayLike<number>): number {
  let count = 0;
  for (let i = 1; i < labels.length; i++) if (labels[i] !== IGNORED) count++;
  return count;
}
