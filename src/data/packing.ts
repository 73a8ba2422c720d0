import { ConfigError } from '../errors.js';
import { Random } from '../random.js';
import { IGNORED } from './encode.js';
import type { Dataset } from './dataset.js';
import {
  isExampleList,
  iterate,
  lengthsOf,
  longestFirst,
  takeExamples,
  type Example,
  type ExampleList,
  type Examples,
} from './examples.js';

/** Which examples share a row: row r holds `order[offsets[r]] … order[offsets[r + 1] − 1]`. */
export interface Packing {
  /** `[examples]`: indices of examples, ascending within a row. */
  readonly order: Int32Array;
  /** `[rows + 1]` */
  readonly offsets: Int32Array;
}

/**
 * Puts examples into few rows of at most `capacity` tokens: best fit decreasing, the longest first, each into the
 * fullest row that still takes it. Depends on the lengths alone.
 * @param lengths tokens of each example.
 * @throws ConfigError when an example is longer than a row.
 * Source: Johnson, "Near-optimal bin packing algorithms" (1973): never more than 11/9 of the fewest rows, plus one.
 */
export function packLengths(lengths: ArrayLike<number>, capacity: number): Packing {
  const rowOf = new Int32Array(lengths.length);
  // Rows by the room that is left in them, as linked lists.
  const newest = new Int32Array(capacity + 1).fill(-1);
  const older = new Int32Array(lengths.length);
  let rows = 0;
  for (const index of longestFirst(lengths)) {
    const length = lengths[index] as number;
    if (length > capacity)
      throw new ConfigError(`data: example ${index + 1} has ${length} tokens, a packed row holds ${capacity}`);
    let room = length;
    while (room <= capacity && newest[room] === -1) room++;
    let row: number;
    if (room > capacity) {
      row = rows++;
      room = capacity;
    } else {
      row = newest[room] as number;
      newest[room] = older[row] as number;
    }
    rowOf[index] = row;
    older[row] = newest[room - length] as number;
    newest[room - length] = row;
  }
  return groupByRow(rowOf, rows);
}

/**
 * The packing of an epoch: equally long examples change places, so that other ones share a row. Rows, and what each is
 * filled to, stay.
 * @param lengths tokens of each example.
 */
export function repacked({ order, offsets }: Packing, lengths: ArrayLike<number>, random: Random): Packing {
  const sorted = longestFirst(lengths);
  const instead = new Int32Array(sorted.length);
  for (let begin = 0, end = 0; begin < sorted.length; begin = end) {
    const length = lengths[sorted[begin] as number];
    while (end < sorted.length && lengths[sorted[end] as number] === length) end++;
    const first = begin;
    random
      .permutation(end - begin)
      .forEach((to, i) => (instead[sorted[first + i] as number] = sorted[first + to] as number));
  }
  const changed = order.map((index) => instead[index] as number);
  for (let row = 0; row + 1 < offsets.length; row++) changed.subarray(offsets[row], offsets[row + 1]).sort();
  return { order: changed, offsets };
}

export interface PackOptions {
  /** Tokens of a row at most. Default: the longest example. */
  readonly maxLength?: number | undefined;
  /** Packs anew for each epoch, drawn by this seed. Without it rows stay what they are. */
  readonly seed?: number | undefined;
}

/**
 * A data set in packed rows. Where its parts have weights, each is packed for itself, so that every row belongs to one
 * of them, and once for all epochs, so that all examples of a part are drawn equally often. What is counted stays what
 * the files hold.
 * @throws ConfigError when the lengths of the examples are not known.
 */
export function packDataset(set: Dataset, { maxLength, seed }: PackOptions = {}): Dataset {
  const { examples, parts } = set;
  const lengths = lengthsOf(examples);
  const capacity = maxLength ?? lengths.reduce((most, length) => Math.max(most, length), 1);
  const mixed = parts.some((part) => part.weight !== undefined);
  let begin = 0;
  const packings = (mixed ? parts.map((part) => part.count) : [lengths.length]).map((count) => {
    const { order, offsets } = packLengths(lengths.subarray(begin, begin + count), capacity);
    const shift = begin;
    begin += count;
    return { order: order.map((i) => i + shift), offsets: offsets.map((at) => at + shift) };
  });
  const packing = {
    order: concatenated(packings.map((p) => p.order)),
    offsets: concatenated([Int32Array.of(0), ...packings.map((p) => p.offsets.subarray(1))]),
  };
  const again =
    seed === undefined || mixed
      ? undefined
      : (epoch: number) => repacked(packing, lengths, new Random(seed, `packing/${epoch}`));
  return {
    ...set,
    examples: packedExamples(examples, packing, again),
    parts: parts.map((part, i) => ({
      ...part,
      count: mixed ? (packings[i] as Packing).offsets.length - 1 : part.count,
    })),
  };
}

function concatenated(arrays: readonly Int32Array[]): Int32Array {
  const whole = new Int32Array(arrays.reduce((sum, array) => sum + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    whole.set(array, at);
    at += array.length;
  }
  return whole;
}

function groupByRow(rowOf: Int32Array, rows: number): Packing {
  const offsets = new Int32Array(rows + 1);
  for (const row of rowOf) offsets[row + 1] = (offsets[row + 1] as number) + 1;
  for (let row = 0; row < rows; row++) offsets[row + 1] = (offsets[row + 1] as number) + (offsets[row] as number);
  const next = offsets.slice(0, rows);
  const order = new Int32Array(rowOf.length);
  rowOf.forEach((row, index) => {
    const at = next[row] as number;
    order[at] = index;
    next[row] = at + 1;
  });
  return { order, offsets };
}

/**
 * Packed rows as examples; each is put together when it is asked for.
 * @param again the packing of every epoch but the first, where it is not the same.
 */
export function packedExamples(
  examples: ExampleList,
  packing: Packing,
  again?: (epoch: number) => Packing,
): ExampleList;
export function packedExamples(examples: Examples, packing: Packing, again?: (epoch: number) => Packing): Examples;
export function packedExamples(examples: Examples, packing: Packing, again?: (epoch: number) => Packing): Examples {
  const { order, offsets } = packing;
  const length = offsets.length - 1;
  const at = (index: number): ReturnType<Examples['at']> => {
    const [begin, end] = [offsets[index], offsets[index + 1]];
    if (begin === undefined || end === undefined) return undefined;
    const indices = order.subarray(begin, end);
    return isExampleList(examples)
      ? joinExamples(Array.from(indices, (i) => examples.at(i) as Example))
      : takeExamples(examples, indices).then(joinExamples);
  };
  let latest: { readonly epoch: number; readonly examples: Examples } | undefined;
  const forEpoch = (epoch: number): Examples => {
    if (latest?.epoch !== epoch)
      latest = {
        epoch,
        examples: packedExamples(examples, epoch === 0 || again === undefined ? packing : again(epoch)),
      };
    return latest.examples;
  };
  return {
    length,
    at,
    ...(again === undefined ? {} : { forEpoch }),
    ...(isExampleList(examples) ? { [Symbol.iterator]: () => iterate(length, at as ExampleList['at']) } : {}),
  };
}

/**
 * Examples one after another in one row. The first token of each is no target: nothing predicts it from the row before,
 * just as nothing predicts the first token of an unpacked row.
 */
export function joinExamples(examples: readonly Example[]): Example {
  const [first] = examples;
  if (first === undefined) throw new ConfigError('a packed row needs at least one example');
  const length = examples.reduce((sum, example) => sum + example.inputIds.length, 0);
  const [inputIds, labels, starts] = [new Int32Array(length), new Int32Array(length), new Int32Array(length)];
  let at = 0;
  for (const example of examples) {
    const end = at + example.inputIds.length;
    inputIds.set(example.inputIds, at);
    labels.set(example.labels, at);
    labels[at] = IGNORED;
    starts.fill(at, at, end);
    at = end;
  }
  return {
    inputIds,
    labels,
    starts,
    row: first.row,
    rows: examples.map((example) => example.row),
    source: first.source,
    truncated: examples.some((e) => e.truncated === true),
    ...(examples.some((e) => e.omitsCalls === true) ? { omitsCalls: true } : {}),
  };
}
