import type { Decoder } from '../model/decoder.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';

/** An answer to one of the first items of a task. */
export interface TaskAnswer {
  readonly task: string;
  readonly prompt: string;
  readonly answer: string;
  readonly reference: string;
}

/** What a model was measured to be. */
export interface Measurement {
  readonly metrics: Readonly<Record<string, number>>;
  readonly answers: readonly TaskAnswer[];
}

/** What trained models and their base are measured by, beside the validation loss. */
export interface Evaluation {
  /** Of everything that the numbers follow from. */
  readonly hash: string;
  /**
   * Measures a model as it is now. @returns undefined when `shouldStop`, asked between two tasks or oftener, ended it.
   */
  evaluate(
    decoder: Decoder,
    tokenizer: Tokenizer | undefined,
    shouldStop?: () => boolean,
  ): Promise<Measurement | undefined>;
  /** Metrics of what the base model could do before, and whether less is better in each: reported as forgetting too. */
  readonly retained: ReadonlyMap<string, boolean>;
}

/**
 * How much worse the retained metrics are than those of the base model; positive is forgetting. Metrics that one of
 * them has no number in are left out.
 */
export function forgettingOf(
  metrics: Readonly<Record<string, number>>,
  base: Readonly<Record<string, number>>,
  retained: ReadonlyMap<string, boolean>,
): Record<string, number> {
  return Object.fromEntries(
    [...retained].flatMap(([name, lowerIsBetter]) => {
      const [now = NaN, before = NaN] = [metrics[name], base[name]];
      return Number.isNaN(now - before) ? [] : [[name, lowerIsBetter ? now - before : before - now]];
    }),
  );
}
