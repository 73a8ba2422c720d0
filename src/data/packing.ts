import { ConfigError } from '../errors.js';
import { IGNORED } from './encode.js';
import type { Dataset } from './dataset.js';
import { isExampleList, iterate, longestFirst, type Example, type ExampleList } from './examples.js';

/** Which examples share a row: row r holds `order[offsets[r]] … order[offsets[r + 1] − 1]`. */
export interface Packing {
  /** `[examples]`: indices of examples, ascending within a row. */
  readonly order: Int32Array;
  /** `[rows + 1]` */
  readonly offsets: Int32Array;
}

/**
 * Puts examples into few rows of at most `capacity` tokens: best fit decreasing, the longest first, each into the fullest row that
 * still takes it. Depends on the lengths alone.
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
    if (length > capacity) throw new ConfigError(`data: example ${index + 1} has ${length} tokens, a packed row holds ${capacity}`);
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
 * A data set in rows of at most `maxLength` tokens (default: the longest example). Where its parts have weights, each is packed for
 * itself, so that every row belongs to one of them. What is counted stays what the files hold.
 * @throws ConfigError when the examples are not in memory.
 */
export function packDataset(set: Dataset, maxLength = set.stats.longest): Dataset {
  const { examples, parts } = set;
  if (!isExampleList(examples) || maxLength === undefined) throw new ConfigError('data: packing needs the lengths of all rows, which streaming does not read: leave one of them out');
  const lengths = Int32Array.from(examples, (example) => example.inputIds.length);
  const counts = parts.some((part) => part.weight !== undefined) ? parts.map((part) => part.count) : [lengths.length];
  let begin = 0;
  const packings = counts.map((count) => {
    const { order, offsets } = packLengths(lengths.subarray(begin, begin + count), maxLength);
    const shift = begin;
    begin += count;
    return { order: order.map((i) => i + shift), offsets: offsets.map((at) => at + shift) };
  });
  const packing = { order: concatenated(packings.map((p) => p.order)), offsets: concatenated([Int32Array.of(0), ...packings.map((p) => p.offsets.subarray(1))]) };
  return { ...set, examples: new PackedExamples(examples, packing), parts: parts.map((part, i) => ({ ...part, count: packings.length === parts.length ? (packings[i] as Packing).offsets.length - 1 : part.count })) };
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

/** Packed rows as examples; each is put together when it is asked for. */
export class PackedExamples implements ExampleList {
  readonly length: number;

  constructor(
    private readonly examples: ExampleList,
    private readonly packing: Packing,
  ) {
    this.length = packing.offsets.length - 1;
  }

  at(index: number): Example | undefined {
    const { order, offsets } = this.packing;
    const [begin, end] = [offsets[index], offsets[index + 1]];
    if (begin === undefined || end === undefined) return undefined;
    return joinExamples(Array.from(order.subarray(begin, end), (i) => this.examples.at(i) as Example));
  }

  [Symbol.iterator](): Iterator<Example> {
    return iterate(this.length, (i) => this.at(i));
  }
}

/**
 * Examples one after another in one row. The first token of each is no target: nothing predicts it from the row before, just as
 * nothing predicts the first token of an unpacked row.
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
  return { inputIds, labels, starts, row: first.row, rows: examples.map((example) => example.row), source: first.source, truncated: examples.some((e) => e.truncated === true) };
}
