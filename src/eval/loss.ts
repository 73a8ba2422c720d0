import { collate } from '../data/collate.js';
import { isExampleList, lengthsOf, longestFirst, takeExamples, type Examples } from '../data/examples.js';
import type { Decoder } from '../model/decoder.js';
import { requireFinite } from '../model/finite.js';
import { batchLossSum } from '../model/loss.js';

/** Loss over a data set. */
export interface LossResult {
  /** Mean loss per supervised token, in nats. */
  readonly loss: number;
  /** exp(loss). */
  readonly perplexity: number;
  /** Supervised tokens. */
  readonly tokens: number;
  readonly rows: number;
}

/**
 * Mean loss over all supervised tokens of the examples, each token with the same weight. Rows of similar length share a
 * batch.
 * @throws DeviceError when it is not finite
 */
export async function evaluateLoss(decoder: Decoder, examples: Examples, batchSize: number): Promise<LossResult> {
  // What is read as it is drawn has no known length before.
  const order = isExampleList(examples)
    ? longestFirst(lengthsOf(examples))
    : Int32Array.from({ length: examples.length }, (_, i) => i);
  let lossSum = 0;
  let tokens = 0;
  for (let i = 0; i < order.length; i += batchSize) {
    const batch = collate(await takeExamples(examples, order.subarray(i, i + batchSize)));
    const sum = batchLossSum(decoder, batch, { training: false });
    const [value] = await sum.data();
    sum.dispose();
    lossSum += value as number;
    tokens += batch.supervisedCount;
    // A macrotask between batches lets signals and timers in.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const loss = lossSum / tokens;
  requireFinite(loss, 'the evaluation loss');
  return { loss, perplexity: Math.exp(loss), tokens, rows: examples.length };
}
