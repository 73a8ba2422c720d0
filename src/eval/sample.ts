import type { Random } from '../random.js';

/** How the next token is drawn. Names and meanings as in transformers' GenerationConfig. */
export interface SamplingOptions {
  /** 0 takes the likeliest token. */
  readonly temperature: number;
  /** Draw among this many likeliest tokens; 0 means all. */
  readonly topK: number;
  /** Draw among the smallest set of likeliest tokens whose probabilities reach this sum. */
  readonly topP: number;
}

/** Draws a token from logits `[vocab]`. Temperature first, then top-k, then top-p, as transformers orders them. */
export function sampleToken(
  logits: Float32Array,
  { temperature, topK, topP }: SamplingOptions,
  random: Random,
): number {
  if (temperature === 0) return argmax(logits);
  const order = Array.from(logits.keys()).sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
  const kept = topK > 0 ? order.slice(0, topK) : order;
  const highest = logits[kept[0] as number] as number;
  const weights = kept.map((id) => Math.exp(((logits[id] as number) - highest) / temperature));
  const all = weights.reduce((sum, w) => sum + w, 0);
  let count = 0;
  let mass = 0;
  // At least one token stays, however small topP is.
  while (count < kept.length && (count === 0 || mass < topP * all)) mass += weights[count++] as number;
  let draw = random.uniform() * mass;
  for (let i = 0; i < count; i++) {
    draw -= weights[i] as number;
    if (draw < 0) return kept[i] as number;
  }
  return kept[count - 1] as number;
}

/** The first of the highest values. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}
