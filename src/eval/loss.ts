import { collate } from '../data/collate.js';
import { isExampleList, lengthsOf, longestFirst, takeExamples, type Examples } from '../data/examples.js';
import type { Decoder } from '../model/decoder.js';
import { requireFinite } from '../model/finite.js';
import { objectiveSums, type Objective } from '../train/objectives/objective.js';
import { namedValues } from '../train/metrics.js';
import { tokenMean } from '../train/objectives/token-mean.js';

/** Loss over a data set. */
export interface LossResult {
  /** Mean loss per item of the objective: in nats per supervised token, unless it is another. */
  readonly loss: number;
  /** exp(loss); absent where the objective's loss is no cross-entropy. */
  readonly perplexity?: number;
  /** Further numbers of the objective, by name; absent where it has none. */
  readonly metrics?: Readonly<Record<string, number>>;
  /** Supervised tokens. */
  readonly tokens: number;
  readonly rows: number;
}

/**
 * Mean loss over all items of an objective in the examples, each item with the same weight. Rows of similar length share
 * a batch.
 * @throws DeviceError when it is not finite
 */
export async function evaluateLoss(
  decoder: Decoder,
  examples: Examples,
  batchSize: number,
  objective: Objective = tokenMean,
): Promise<LossResult> {
  // What is read as it is drawn has no known length before.
  const order = isExampleList(examples)
    ? longestFirst(lengthsOf(examples))
    : Int32Array.from({ length: examples.length }, (_, i) => i);
  // Loss and metrics.
  const sums = new Float64Array(1 + objective.metrics.length);
  let items = 0;
  let tokens = 0;
  for (let i = 0; i < order.length; i += batchSize) {
    const batch = collate(await takeExamples(examples, order.subarray(i, i + batchSize)));
    const inputs = objective.inputs(decoder, batch, { training: false, fewShapes: false });
    const made = objectiveSums(objective, decoder, inputs, { training: false });
    const values = await made.data();
    made.dispose();
    sums.forEach((sum, k) => (sums[k] = sum + (values[k] as number)));
    items += objective.itemCount(batch);
    tokens += batch.supervisedCount;
    // A macrotask between batches lets signals and timers in.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const [loss, ...metrics] = Array.from(sums, (sum) => sum / items) as [number, ...number[]];
  requireFinite(loss, 'the evaluation loss');
  return {
    loss,
    ...(objective.isCrossEntropy ? { perplexity: Math.exp(loss) } : {}),
    ...(metrics.length === 0 ? {} : { metrics: namedValues(objective.metrics, metrics) }),
    tokens,
    rows: examples.length,
  };
}
