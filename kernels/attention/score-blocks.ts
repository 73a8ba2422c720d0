import type { AttentionShape } from './shape.js';

/** Bytes of scores that exist at a time, as far as one key head of a row of a batch allows. */
const SCORE_BYTES = 16 * 2 ** 20;

/** Some key heads of some rows of a batch. */
export interface Stretch {
  readonly batch: number;
  readonly batches: number;
  readonly head: number;
  readonly heads: number;
}

/** Elements of a row of scores: a multiple of four. */
export function paddedKeys({ keyLength }: AttentionShape): number {
  return Math.ceil(keyLength / 4) * 4;
}

/** Bytes of the scores of one key head of one row of the batch. */
export function scoreBytes(s: AttentionShape): number {
  return (4 * s.numHeads * s.queryLength * paddedKeys(s)) / s.numKvHeads;
}

/** All key heads of all rows, in stretches whose scores may exist at a time. */
export function stretches(s: AttentionShape): Stretch[] {
  const most = Math.max(1, Math.floor(SCORE_BYTES / scoreBytes(s)));
  const batches = Math.max(1, Math.floor(most / s.numKvHeads));
  const heads = Math.min(most, s.numKvHeads);
  const out: Stretch[] = [];
  for (let batch = 0; batch < s.batch; batch += batches) {
    for (let head = 0; head < s.numKvHeads; head += heads)
      out.push({
        batch,
        batches: Math.min(batches, s.batch - batch),
        head,
        heads: Math.min(heads, s.numKvHeads - head),
      });
  }
  return out;
}
