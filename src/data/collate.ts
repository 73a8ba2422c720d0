import { ConfigError } from '../errors.js';
import { IGNORED } from './encode.js';
import { countTargets, type Example } from './examples.js';

/** Examples side by side, one a row, padded on the right to the longest. */
export interface Batch {
  /** `[batch · seq]`, row-major. */
  readonly inputIds: Int32Array;
  /** `[batch · seq]`, −100 on padding and where nothing is learnt; not shifted. */
  readonly labels: Int32Array;
  /** `[batch]` true lengths: what lies beyond is padding, whatever id it has. */
  readonly lengths: Int32Array;
  readonly batch: number;
  readonly seq: number;
  /**
   * `[batch · seq]`, where rows are packed: the index in its row where the sample of each token begins. Attention stays
   * within a sample, and positions count from there. Padding is a sample of its own, so that starts never fall.
   */
  readonly starts?: Int32Array;
  /** Tokens without padding. */
  readonly tokenCount: number;
  /** Predictions that enter the loss: labels from the second position on that are not −100. */
  readonly supervisedCount: number;
  /** 1-based lines of the examples in their sources. */
  readonly rows: readonly number[];
}

export interface CollateOptions {
  /** Id written on padding; it may also be a real token, since length alone says what padding is. Default 0. */
  readonly padId?: number | undefined;
  /** Round `seq` up to a multiple of this, for fewer distinct shapes. Default 1. */
  readonly padToMultipleOf?: number | undefined;
}

/**
 * Puts examples into one batch.
 * @throws ConfigError for no examples.
 */
export function collate(examples: readonly Example[], { padId = 0, padToMultipleOf = 1 }: CollateOptions = {}): Batch {
  if (examples.length === 0) throw new ConfigError('a batch needs at least one example');
  const longest = examples.reduce((length, example) => Math.max(length, example.inputIds.length), 0);
  const seq = Math.ceil(longest / padToMultipleOf) * padToMultipleOf;
  const batch = examples.length;
  const inputIds = new Int32Array(batch * seq).fill(padId);
  const labels = new Int32Array(batch * seq).fill(IGNORED);
  const lengths = new Int32Array(batch);
  const starts = examples.some((example) => example.starts !== undefined) ? new Int32Array(batch * seq) : undefined;
  let tokenCount = 0;
  let supervisedCount = 0;
  examples.forEach((example, i) => {
    inputIds.set(example.inputIds, i * seq);
    labels.set(example.labels, i * seq);
    lengths[i] = example.inputIds.length;
    starts?.set(example.starts ?? new Int32Array(example.inputIds.length), i * seq);
    starts?.fill(example.inputIds.length, i * seq + example.inputIds.length, (i + 1) * seq);
    tokenCount += example.inputIds.length;
    supervisedCount += countTargets(example.labels);
  });
  const rows = examples.flatMap((example) => example.rows ?? [example.row]);
  return {
    inputIds,
    labels,
    lengths,
    batch,
    seq,
    ...(starts === undefined ? {} : { starts }),
    tokenCount,
    supervisedCount,
    rows,
  };
}
